"""The repository checks itself: who may import whom, what is pure, what a wheel holds, what the README says."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "svckube": ROOT / "kube/svckube",
    "svcnet": ROOT / "net/svcnet",
    "svcagent": ROOT / "agent/svcagent",
    "svcdns": ROOT / "dns/svcdns",
    "svclab": ROOT / "lab/svclab",
}
MAY_IMPORT = {
    "svckube": set(),
    "svcnet": {"svckube"},
    "svcagent": {"svckube", "svcnet"},
    "svcdns": {"svckube", "svcnet"},
    "svclab": {"svckube", "svcnet", "svcagent", "svcdns"},
}

# No clock, randomness, environment or I/O, and nothing that has any.
PURE = [
    "svckube.kubeconfig",
    "svckube.objects",
    "svckube.steps",
    "svckube.store",
    "svckube.stream",
    "svcnet.flow",
    "svcnet.nfnetlink",
    "svcnet.nftwire",
    "svcnet.rules",
    "svcnet.trace",
    "svcnet.transactions",
    "svcagent.compile",
    "svcagent.configuration",
    "svcagent.conflict",
    "svcagent.dialect",
    "svcagent.dispatch",
    "svcagent.doubts",
    "svcagent.culprits",
    "svcagent.flows",
    "svcagent.health",
    "svcagent.kinds",
    "svcagent.inspection.destinations",
    "svcagent.inspection.explain",
    "svcagent.inspection.inventory",
    "svcagent.inspection.manifest",
    "svcagent.inspection.near_miss",
    "svcagent.inspection.trace_report",
    "svcagent.inspection.wanted",
    "svcagent.names",
    "svcagent.options",
    "svcagent.pace",
    "svcagent.patch",
    "svcagent.picture",
    "svcagent.pipeline",
    "svcagent.prefixes",
    "svcagent.problems",
    "svcagent.resolve",
    "svcagent.skeleton",
    "svcagent.specimens",
    "svcagent.status",
    "svcagent.topology",
    "svcagent.triggers",
    "svcagent.zpages",
    *(
        f"svcdns.{name}"
        for name in (
            "acl addresses answer autopath busiest cache channel clients corefile directives explain flags foreign "
            "histogram hosts index names nodeflags notrack options pillars plugin_acl plugin_cache plugin_forward "
            "plugin_kubernetes plugins records rewrite settings slim stub transfer wire wirecache"
        ).split()
    ),
    "svclab.apiserver.strategy",
    "svclab.errors",
    "svclab.identity",
    "svclab.cluster.addons",
    "svclab.cluster.daemons",
    "svclab.cluster.plan",
    "svclab.cluster.restarts",
    "svclab.cluster.wiring",
    *(
        f"svclab.apiserver.{name}"
        for name in (
            "discovery event_views failures go_json lists openapi options patches protobuf resources schema seeds "
            "selectors state subresources tables verbs "
        ).split()
    ),
    *(
        f"svclab.apiserver.strategy.{name}"
        for name in (
            "account addresses allocation containers endpoints errors event fields formats keyed kind "
            "metadata network_policy node normal_form pod pod_admission pod_defaults pod_difference pod_rules "
            "pod_update pod_warnings printed quantity scheduling service service_rules shapes volumes "
            "workload "
        ).split()
    ),
    *(
        f"svclab.controllers.{name}"
        for name in (
            "backends conditions deployment durations endpoints endpointslice eviction fingerprint garbage "
            "hashing kinds loadbalancer mirroring moments namespaces nodeipam nodelifecycle ownership pods "
            "progress reduce replicaset rollout roster scheduler selection slices subsets tolerations view "
            "workqueue "
        ).split()
    ),
    *(
        f"svclab.kubelet.{name}"
        for name in ("addresses backoff decision environment pods probing resolution status ").split()
    ),
    *(f"svclab.demo.{name}" for name in "evidence report".split()),
    "svclab.images.table",
    "svclab.programs.messages",
    "svclab.programs.words",
    "svclab.upstream.internet",
]
PURE_FOREIGN = {
    *("__future__", "argparse", "base64", "bisect", "collections", "dataclasses", "datetime", "enum", "fractions"),
    *("functools", "hashlib", "ipaddress", "itertools", "json", "math", "operator", "re", "struct", "types", "typing"),
    *("binascii", "copy", "difflib", "dnslib", "heapq", "jsonpatch", "marshal", "msgspec", "yaml"),
}

DOORS = {
    "yaml": {
        "svcagent.configuration",
        "svcagent.inspection.manifest",
        "svclab.apiserver.decoding",
        "svckube.kubeconfig",
        "svclab.images.file",
    },
    "aiohttp": {"svclab.apiserver.command", "svclab.apiserver.server", "svclab.apiserver.watching"},
    "cryptography": {"svclab.apiserver.identity", "svclab.certificates"},
    "jsonpatch": {"svclab.apiserver.patches"},
    "jwt": {"svclab.apiserver.identity"},
    "kubernetes": {"svckube.authentication"},
    "multidict": {"svclab.apiserver.server"},
    "sqlite3": {"svclab.apiserver.database"},
    "urllib3": {"svckube.access"},
    "dnslib": {"svcdns.wire"},
    "pyroute2": {"svcnet.carriers", "svcnet.tables", "svclab.netns"},
    "prometheus_client": {"svckube.observe", "svcagent.metrics", "svcdns.counters", "svcdns.tally"},
}


def modules() -> dict[str, Path]:
    return {
        ".".join((name, *path.relative_to(folder).with_suffix("").parts)).removesuffix(".__init__"): path
        for name, folder in PACKAGES.items()
        for path in sorted(folder.rglob("*.py"))
    }


def imports(path: Path) -> set[str]:
    """Full names of what a module imports: `a.b` for `import a.b`, `a.b` for `from a import b` too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


MODULES = modules()


@pytest.mark.parametrize("module", MODULES)
def test_layers(module: str) -> None:
    own = module.partition(".")[0]
    used = {name.partition(".")[0] for name in imports(MODULES[module])} & PACKAGES.keys()
    assert used <= MAY_IMPORT[own] | {own}


@pytest.mark.parametrize("module", PURE)
def test_pure_modules_import_pure_modules_only(module: str) -> None:
    for name in imports(MODULES[module]):
        top = name.partition(".")[0]
        if top in PACKAGES:
            assert name in PURE or name.rpartition(".")[0] in PURE, f"{module} imports {name}"
        else:
            assert top in PURE_FOREIGN, f"{module} imports {name}"


@pytest.mark.parametrize("library", DOORS)
def test_each_library_has_its_doors(library: str) -> None:
    users = {
        module
        for module, path in MODULES.items()
        if any(name == library or name.startswith(f"{library}.") for name in imports(path))
    }
    assert users <= DOORS[library]


@pytest.mark.parametrize("program", ["svcagent.cli", "svcagent.daemon", "svcdns.cli", "svcdns.nodelocal"])
def test_long_lived_programs_do_without_the_kubernetes_package(program: str) -> None:
    """It takes 17 MiB, and is asked in a process of its own (`svckube.authentication`)."""
    command = f"import sys, {program}; print(*(name for name in sys.modules if name.startswith('kubernetes')))"
    ended = subprocess.run([sys.executable, "-c", command], check=True, capture_output=True, text=True)
    assert ended.stdout.split() == []


def test_plain_packages_only() -> None:
    for folder in ("kube", "net", "agent", "dns", "lab", "tests"):
        assert not (ROOT / folder / "__init__.py").exists()
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_test_files_have_unique_names() -> None:
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)


def test_every_top_level_folder_has_a_readme() -> None:
    missing = [
        name
        for name in ("kube", "net", "agent", "dns", "lab", "deploy", "tests")
        if not (ROOT / name / "README.md").is_file()
    ]
    assert missing == []


def test_wheel_holds_the_five_packages(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == set(PACKAGES)
    for package, folder in PACKAGES.items():
        assert {f"{package}/{path.name}" for path in folder.glob("*.py")} | {f"{package}/py.typed"} <= names


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def documents() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.md") if not {".venv", ".hypothesis"} & set(path.parts))


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_name_what_exists(document: Path) -> None:
    """Every `make TARGET`, every program's flag and every path of the repository in a document is real."""
    text = document.read_text()
    for target in re.findall(r"`?make ([a-z-]+)`|^ *(?:\$ )?make ([a-z-]+)", text, re.MULTILINE):
        assert (target[0] or target[1]) in make_targets(), target
    for path in re.findall(r"`((?:kube|net|agent|dns|lab|deploy|tests)/[\w./-]+)`", text):
        assert (ROOT / path).exists(), path


COMMANDS = {
    "svcplane-agent": ("run", "rules", "trace", "status", "cleanup"),
    "svcplane-dns": ("run", "nodelocal", "lookup", "top"),
    "svcplane-lab": ("up", "status", "down", "demo", "exec", "node", "kubectl", "apiserver", "controllers", "kubelet"),
}


@pytest.mark.parametrize("program", COMMANDS)
def test_flags_in_documents_exist(program: str) -> None:
    executable = Path(sys.executable).parent / program
    shown = {
        command: subprocess.run([executable, command, "--help"], check=True, capture_output=True, text=True).stdout
        for command in COMMANDS[program]
    }
    for document in documents():
        for command, rest in re.findall(rf"{program} (\w+)((?: [^\s`]+|\\\n)*)", document.read_text()):
            for flag in re.findall(r"--[a-z][a-z0-9-]+", rest):
                assert flag in shown[command], f"{document}: {program} {command} {flag}"
