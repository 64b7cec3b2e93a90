"""The shipped manifests before the real kube-apiserver; the Helm chart, as the real helm renders it, by their side."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from peers.control_plane import ApiError, ControlPlane
from support.waiting import eventually
from svcdns.corefile import blocks_of
from svcdns.plugins import settings_of

pytestmark = pytest.mark.peers

DEPLOY = Path(__file__).parents[2] / "deploy"
OVERLAYS = DEPLOY / "kustomize/overlays"
KIND = "../../kind"
CHART = DEPLOY / "helm/svcplane"
SERVER = "agent.apiServer=https://192.168.56.10:6443"
Objects = dict[tuple[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def plane(binaries: Path) -> Iterator[ControlPlane]:
    """One that lets pods be privileged, as kubeadm starts it."""
    with ControlPlane(binaries, apiserver_flags=["--allow-privileged"]) as running:
        yield running


@pytest.fixture
def with_autopath(tmp_path: Path) -> Path:
    """The overlay of the cache with its component."""
    shutil.copytree(DEPLOY / "kustomize", tmp_path / "kustomize")
    chosen = tmp_path / "kustomize/overlays/nodelocal/kustomization.yaml"
    with chosen.open("a") as text:
        text.write("components: [../../components/nodelocal-autopath]\n")
    return chosen.parent


def kustomized(binaries: Path, overlay: str | Path) -> str:
    return _ran(binaries / "kubectl", "kustomize", OVERLAYS / overlay)


def templated(binaries: Path, *values: str) -> str:
    flags = [word for value in values for word in ("--set", value)]
    return _ran(binaries / "helm", "template", "svcplane", CHART, "--kube-version", "1.36.3", *flags)


def _ran(*argv: str | Path) -> str:
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def objects(text: str) -> Objects:
    """By kind and name; files in ConfigMaps decoded, and without the hash that kustomize adds to their names."""
    found = {}
    for each in yaml.safe_load_all(re.sub(r"(name: svcplane-(?:agent|nodelocal))-[0-9a-z]{10}\b", r"\1", text)):
        if each["kind"] == "ConfigMap":
            each["data"] = {
                name: yaml.safe_load(file) if name.endswith(".yaml") else file for name, file in each["data"].items()
            }
        found[each["kind"], each["metadata"]["name"]] = each
    return found


def pod_of(text: str, kind: str) -> dict[str, Any]:
    """The pod of a workload, as its controller would make it, without its account, which a dry run does not make."""
    (workload,) = (each for (found, _), each in objects(text).items() if found == kind)
    spec = workload["spec"]["template"]["spec"] | {"serviceAccountName": "default"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, "spec": spec}


@pytest.mark.parametrize(
    "overlay", ["agent", "dns", "both", "nodelocal", KIND], ids=["agent", "dns", "both", "nodelocal", "kind"]
)
def test_the_api_server_takes_every_object(plane: ControlPlane, binaries: Path, overlay: str) -> None:
    text = kustomized(binaries, overlay)
    for (kind, _), each in objects(text).items():
        if kind == "Namespace":
            plane.apply(each)
    said = plane.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text)
    assert len(said.splitlines()) == len(objects(text)), said


def test_kind_differs_in_the_agents_files_only(binaries: Path) -> None:
    kind, both = objects(kustomized(binaries, KIND)), objects(kustomized(binaries, "both"))
    changed = {key for key in kind.keys() | both.keys() if kind.get(key) != both.get(key)}
    assert changed == {("ConfigMap", "svcplane-agent")}
    name = yaml.safe_load((DEPLOY / "kind/cluster.yaml").read_text()).get("name", "svcplane")
    cluster = kind["ConfigMap", "svcplane-agent"]["data"]["kubeconfig.yaml"]["clusters"][0]["cluster"]
    assert cluster["server"] == f"https://{name}-control-plane:6443"
    assert f"--name {name}" in (DEPLOY / "kind/up.sh").read_text()


def test_the_chart_is_what_kustomize_makes(binaries: Path) -> None:
    assert objects(templated(binaries, SERVER)) == objects(kustomized(binaries, "both"))


def test_the_charts_cache_is_what_kustomize_makes(binaries: Path) -> None:
    alone = ("agent.enabled=false", "dns.enabled=false", "nodelocal.enabled=true")
    assert objects(templated(binaries, *alone)) == objects(kustomized(binaries, "nodelocal"))


def test_the_cache_with_autopath(plane: ControlPlane, binaries: Path, with_autopath: Path) -> None:
    """The same by component and by chart, taken by the API server; only the cache itself gets the account."""
    alone = ("agent.enabled=false", "dns.enabled=false", "nodelocal.enabled=true")
    text = kustomized(binaries, with_autopath)
    made = objects(text)
    assert objects(templated(binaries, *alone, "nodelocal.autopath=true")) == made
    said = plane.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text)
    assert len(said.splitlines()) == len(made), said
    spec = made["DaemonSet", "svcplane-nodelocal"]["spec"]["template"]["spec"]
    mounts = {each["name"]: {one["name"] for one in each["volumeMounts"]} for each in spec["containers"]}
    assert mounts["cache"] - mounts["guard"] == {"account"}
    blocks = settings_of(blocks_of(filled_in(made["ConfigMap", "svcplane-nodelocal"]["data"]["Corefile.base"]))).blocks
    plain = objects(kustomized(binaries, "nodelocal"))["ConfigMap", "svcplane-nodelocal"]["data"]["Corefile.base"]
    without = settings_of(blocks_of(filled_in(plain))).blocks
    assert [block.autopath is not None for block in blocks] == [True, False, False]
    first = msgspec.structs.replace(blocks[0], autopath=None, plugins=without[0].plugins)
    assert first == without[0]
    assert blocks[1:] == without[1:]


def filled_in(template: str) -> str:
    return re.sub(r"__PILLAR__[A-Z_]*__", "127.0.0.1", template)


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        pytest.param(
            ["agent.enabled=false"], [("DaemonSet", "svcplane-agent"), ("ConfigMap", "svcplane-agent")], id="dns"
        ),
        pytest.param(
            ["dns.enabled=false", SERVER], [("Deployment", "svcplane-dns"), ("ConfigMap", "svcplane-dns")], id="agent"
        ),
        pytest.param(["dns.service.create=false", SERVER], [("Service", "kube-dns")], id="service-is-there"),
        pytest.param(
            ["agent.createNamespace=false", SERVER], [("Namespace", "svcplane-system")], id="namespace-is-there"
        ),
        pytest.param(["dns.networkPolicy=false", SERVER], [("NetworkPolicy", "svcplane-dns")], id="no-policy"),
    ],
)
def test_parts_can_be_left_out(binaries: Path, values: list[str], missing: list[tuple[str, str]]) -> None:
    everything, found = objects(templated(binaries, SERVER)), objects(templated(binaries, *values))
    assert found.items() <= everything.items()
    assert not set(missing) & set(found)
    assert set(missing) <= set(everything)


@pytest.mark.parametrize(
    ("values", "zones", "plugins"),
    [
        pytest.param([], 3, "health ready kubernetes prometheus forward cache loop reload", id="all"),
        pytest.param(["dns.zones={a.example,b.example}"], 2, "kubernetes forward cache", id="zones"),
        pytest.param(["dns.forward=null"], 3, "kubernetes reload loadbalance", id="nothing-forwarded"),
        pytest.param(["dns.forward={192.0.2.1,192.0.2.2:5353}"], 3, "forward", id="upstreams"),
        pytest.param(["dns.pods=verified", "dns.ttl=0"], 3, "kubernetes", id="pods-and-ttl"),
        pytest.param(["dns.corefile=.:53 {\n    kubernetes a.example\n}\n"], 1, "kubernetes", id="a-corefile"),
    ],
)
def test_the_chart_makes_corefiles(binaries: Path, values: list[str], zones: int, plugins: str) -> None:
    """Read as the program reads them: each zone, and each of the plugins named here, at least."""
    text = objects(templated(binaries, "agent.enabled=false", *values))["ConfigMap", "svcplane-dns"]["data"]["Corefile"]
    (block,) = settings_of(blocks_of(text)).blocks
    assert block.kubernetes is not None
    assert len(block.kubernetes.zones.all) == zones
    assert set(plugins.split()) <= set(block.plugins)


def test_verified_pods_need_a_right(binaries: Path) -> None:
    role = objects(templated(binaries, SERVER, "dns.pods=verified"))["ClusterRole", "svcplane-dns"]
    assert role["rules"][0]["resources"] == ["services", "namespaces", "pods"]


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        pytest.param("dns.pods=maybe", "'/dns/pods': value must be one of", id="no-such-mode"),
        pytest.param("dns.ttl=4000", "'/dns/ttl': maximum", id="ttl-too-long"),
        pytest.param("agent.apiserver=x", "'/agent': additional properties 'apiserver' not allowed", id="misspelt"),
        pytest.param("agent.apiServer=192.168.56.10", "'/agent/apiServer': ", id="no-url"),
        pytest.param("agent.apiServer=", "the API server's own address", id="not-said"),
    ],
)
def test_values_are_checked(binaries: Path, value: str, complaint: str) -> None:
    argv = (binaries / "helm", "template", CHART, "--kube-version", "1.36.3", "--set", value)
    done = subprocess.run(argv, capture_output=True, text=True)
    assert (done.returncode, complaint in done.stderr) == (1, True), done.stderr


@pytest.mark.parametrize(
    ("overlay", "kind", "level", "refused"),
    [
        pytest.param("dns", "Deployment", "restricted", "", id="dns-restricted"),
        pytest.param("agent", "DaemonSet", "privileged", "", id="agent-privileged"),
        pytest.param(
            "nodelocal", "DaemonSet", "baseline", 'violates PodSecurity "baseline:latest"', id="nodelocal-not-baseline"
        ),
        pytest.param("nodelocal", "DaemonSet", "privileged", "", id="nodelocal-privileged"),
        pytest.param(
            "agent", "DaemonSet", "baseline", 'violates PodSecurity "baseline:latest"', id="agent-not-baseline"
        ),
    ],
)
def test_pod_security(plane: ControlPlane, binaries: Path, overlay: str, kind: str, level: str, refused: str) -> None:
    """Each pod is taken at the level that is claimed, and the agent's at no stricter one."""
    namespace = f"{overlay}-{level}"
    labels = {"pod-security.kubernetes.io/enforce": level}
    plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}})
    eventually(lambda: plane.has_service_account(namespace), f"namespace {namespace} takes pods")
    pod = pod_of(kustomized(binaries, overlay), kind)
    if not refused:
        plane.request("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", pod)
        return
    with pytest.raises(ApiError, match=refused):
        plane.request("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", pod)
