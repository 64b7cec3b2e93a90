"""Draws the tables of `svclab.apiserver.strategy.shapes` and `.pod_difference` from Kubernetes' own Go sources.

In: the sources that `go list -m` of this folder's go.mod finds. Out: entries of the two tables, as Python text. A peers
test says whether the tables in the lab are still what is drawn.

    python tests/peers/draw_shapes.py shapes       # for FIELDS of shapes.py
    python tests/peers/draw_shapes.py internal     # for FIELDS of pod_difference.py
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

Name: TypeAlias = tuple[str, str]
"""A package, a type."""

HERE = Path(__file__).resolve().parent
SERVED = [
    *(("core", kind) for kind in ("Namespace", "Node", "Pod", "Service", "Endpoints", "ConfigMap", "Secret")),
    *(("core", kind) for kind in ("ServiceAccount", "Event", "Binding")),
    *(("discovery", "EndpointSlice"), ("apps", "ReplicaSet"), ("apps", "Deployment"), ("coordination", "Lease")),
    *(("networking", "NetworkPolicy"), ("autoscaling", "Scale")),
]
GROUPS = ("core", "apps", "discovery", "coordination", "networking", "autoscaling")
PACKAGES = {"metav1": "meta", "v1": "core", "corev1": "core"}
# Of two types with one name, the one that is called otherwise.
CALLED = {("discovery", "EndpointPort"): "SlicePort"}
SCALARS = {
    **dict.fromkeys(("int32", "int64", "int"), "i"),
    "string": "s",
    "bool": "b",
    "types.UID": "s",
    "types.NodeName": "s",
    "resource.Quantity": "q",
    "metav1.Time": "t",
    "Time": "t",
    "metav1.MicroTime": "u",
    "intstr.IntOrString": "p",
    "[]byte": "y",
    "FieldsV1": "r",
    "metav1.FieldsV1": "r",
    "runtime.RawExtension": "r",
}
# Internal types whose insides are shown as the API has them: nobody changes them in the lab.
SHOWN = {
    *("metav1.LabelSelector", "metav1.ObjectMeta", "ClusterTrustBundleProjection", "PodCertificateProjection"),
    "WindowsSecurityContextOptions",
}
OPENED = {
    f"{name}VolumeSource"
    for name in ("", "EmptyDir", "HostPath", "Secret", "ConfigMap", "DownwardAPI", "Projected", "NFS", "Image")
} | {"PersistentVolumeClaimVolumeSource"}


class Sources:
    """The structs and other types of Go files."""

    def __init__(self, files: dict[str, Path]) -> None:
        self.structs: dict[Name, str] = {}
        self.others: dict[Name, str] = {}
        for package, file in files.items():
            text = file.read_text()
            for found in re.finditer(r"^type (\w+) struct \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL):
                self.structs[package, found[1]] = found[2]
            for found in re.finditer(r"^type (\w+) ((?:map\[)?[\w\[\].]+)$", text, re.MULTILINE):
                self.others[package, found[1]] = found[2]
        self.reached: list[Name] = []

    def written(self, package: str, kind: str) -> str:
        """A Go type as the tables write it; a struct is remembered as reached. LookupError for an unknown one."""
        kind = kind.lstrip("*")
        if kind in SCALARS:
            return SCALARS[kind]
        if kind.startswith("[]"):
            return "[" + self.written(package, kind[2:])
        if found := re.match(r"map\[[\w.]+\](.*)", kind):
            return "{" + self.written(package, found[1])
        if "." in kind:
            prefix, _, kind = kind.partition(".")
            package = PACKAGES[prefix]
        name = (package, kind)
        if name in self.structs:
            if name not in self.reached:
                self.reached.append(name)
            return CALLED.get(name, kind)
        return self.written(package, self.others[name])


def drawn_shapes() -> dict[str, str]:
    """Type: fields, for the kinds that are served."""
    folders = module_folders()
    files = {group: folders["k8s.io/api"] / group / "v1/types.go" for group in GROUPS}
    files["meta"] = folders["k8s.io/apimachinery"] / "pkg/apis/meta/v1/types.go"
    return _drawn(Sources(files), SERVED, _tagged_fields)


def drawn_internal() -> dict[str, str]:
    """Type: fields, for the internal PodSpec."""
    source = module_folders()["k8s.io/kubernetes"] / "pkg/apis/core/types.go"
    return _drawn(Sources({"core": source}), [("core", "PodSpec")], _plain_fields)


def module_folders() -> dict[str, Path]:
    modules = ("k8s.io/api", "k8s.io/apimachinery", "k8s.io/kubernetes")
    argv = ("go", "list", "-m", "-f", "{{.Path}} {{.Dir}}", *modules)
    done = subprocess.run(argv, cwd=HERE, check=True, capture_output=True, text=True, timeout=60)
    return {path: Path(folder) for path, folder in (line.split() for line in done.stdout.splitlines())}


def _drawn(sources: Sources, wanted: list[Name], fields: Callable[[Sources, Name], Iterator[str]]) -> dict[str, str]:
    sources.reached = list(wanted)
    table: dict[str, str] = {}
    for name in sources.reached:  # grows meanwhile
        called = CALLED.get(name, name[1])
        assert called not in table, f"two types are called {called}"
        table[called] = " ".join(fields(sources, name))
    return dict(sorted(table.items()))


def _tagged_fields(sources: Sources, name: Name) -> Iterator[str]:
    package, kind = name
    pattern = r'(?:(\w+)\s+)?(\*?)([\w\[\].*]+)\s+`.*?json:"([^"]*)"'
    for line in sources.structs[name].splitlines():
        if not (found := re.match(pattern, line.strip())):
            continue
        _, pointer, kind, tag = found.groups()
        json_name, *options = tag.split(",")
        if kind.endswith("TypeMeta"):
            yield from ("kind?s", "apiVersion?s")
        elif not json_name:
            prefix, dot, inner = kind.rpartition(".")
            yield from _tagged_fields(sources, (PACKAGES[prefix] if dot else package, inner))
        elif json_name != "-":
            yield f"{json_name}{_mark(bool(pointer), options)}{sources.written(package, kind)}"


def _mark(pointer: bool, options: list[str]) -> str:
    if pointer:
        return "*" if "omitempty" in options else "+"
    return "~" if "omitzero" in options else "?" if "omitempty" in options else ":"


def _plain_fields(sources: Sources, name: Name) -> Iterator[str]:
    for line in sources.structs[name].splitlines():
        words = line.partition("//")[0].split()
        if len(words) == 1:
            yield from _plain_fields(sources, (name[0], words[0].lstrip("*")))
        elif words:
            kind = words[1].lstrip("*")
            shown = kind in SHOWN or (kind.endswith("VolumeSource") and kind not in OPENED)
            written = "=" if shown else sources.written(name[0], kind)
            yield f"{words[0]}{'*' if words[1].startswith('*') else ':'}{written}"


if __name__ == "__main__":
    for called, fields in {"shapes": drawn_shapes, "internal": drawn_internal}[sys.argv[1]]().items():
        print(f"    {called!r}: {fields!r},")
