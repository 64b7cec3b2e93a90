"""The lab's API server beside the real one: the same kubectl command lines, the same raw requests, the same answers.

Both servers get a kube-controller-manager with as little as makes a namespace usable, so that nothing races with the
scripts. A row of ACCEPTED is a difference that we want or can live with: it says why, and must still be one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path

import pytest

from peers import (
    lab_requests_patches,
    lab_requests_reads,
    lab_requests_services,
    lab_requests_writes,
    lab_scripts_making,
    lab_scripts_objects,
    lab_scripts_operating,
    lab_scripts_reading,
    lab_scripts_services,
    lab_scripts_workloads,
    lab_scripts_wrong_files,
    lab_scripts_wrong_services,
    lab_scripts_wrong_workloads,
)
from peers.control_plane import ControlPlane
from peers.lab_judge import Seat, asked, differences, made_namespace, on_all, played, unexpected
from peers.lab_server import LabServer

pytestmark = pytest.mark.peers

QUIET = ("serviceaccount-controller", "namespace-controller", "garbage-collector-controller")
TOKENS = "admin-token,root,root-uid,system:masters\n"
PLAYED = [
    *(lab_scripts_services, lab_scripts_workloads, lab_scripts_objects, lab_scripts_reading, lab_scripts_operating),
    *(lab_scripts_making, lab_scripts_wrong_services, lab_scripts_wrong_files, lab_scripts_wrong_workloads),
]
KUBECTL: Mapping[str, str] = {name: script for table in PLAYED for name, script in table.SCRIPTS.items()}
RAW = [lab_requests_reads, lab_requests_writes, lab_requests_patches, lab_requests_services]
SCRIPTS = {**KUBECTL, **{f"raw-{name}": script for table in RAW for name, script in table.REQUESTS.items()}}
AT_ONCE = 3
# Nobody else may write meanwhile: a real server's bookmarks and its short history tell of that.
ALONE = {"raw-watch"}

# script: {what was asked: why the answers may differ}
ACCEPTED: Mapping[str, Mapping[str, str]] = {
    "service-errors": {
        "create -f noname.yml": "the real server trips over its own IPAddress object before it sees the missing name",
    },
    "service-types": {
        """patch svc web --type=merge -p '{"spec":{"clusterIP":null}}'""": "no managedFields, so nothing has changed",
    },
    "deployment-apply": {
        "apply -f web.yml --prune -l app=web": "kubectl wants to prune claims, jobs and more, which we do not serve",
    },
    "output": {
        "get limits": "no LimitRange",
    },
    "others": {
        "apply -f policy.yml": "we warn that nothing enforces a NetworkPolicy",
        "apply -f lease.yml --server-side": "no server-side apply",
    },
    "read-discovery": {
        "cluster-info dump nowhere": "lists come as JSON, not as Protobuf: an empty one is [], not null",
        "explain deploy --api-version=apps/v1 --output=plaintext-openapiv2": "OpenAPI v2 has no definitions",
        "get daemonsets,statefulsets": "kinds that are not served are not in discovery",
        "get pv": "kinds that are not served are not in discovery",
    },
    "make-configuration": {
        "create job j --image=x": "jobs are not served, and creating one says so",
        "create role r --verb=get --resource=pods": "there is no RBAC, and creating a role says so",
    },
    "make-pods": {
        "logs a": "logs are the kubelet's, and not served yet: 501",
        "debug a --image=busybox": "no ephemeral containers",
    },
    "operate-labels": {
        "apply -f cm.yml": "one complaint fewer about the annotation: OpenAPI v2 has no definitions to try it with",
    },
    "raw-paths": {
        "GET /api/v1/namespaces/{ns}/configmaps/%zz": "a malformed path is a name like any other to our HTTP library",
        "GET /openapi/v3/api/nowhere": "404 with a word of why, where the real one says nothing",
    },
    "raw-create": {
        "POST /api/v1/namespaces/{ns}/configmaps metadata: {name": "the YAML reader counts its lines otherwise",
    },
    "raw-services": {
        "GET /api/v1/namespaces/{ns}/services/web/proxy/": "proxies are not served: 501",
    },
    "raw-tables": {
        'POST /apis/networking.k8s.io/v1/namespaces/{ns}/networkpolicies {"metadata": {"name": "n"}, '
        '"spec": {"podSelector": {"matchLabels": {"a": "b"}}}}': "we warn that nothing enforces a NetworkPolicy",
    },
}


@pytest.fixture(scope="module")
def seats(binaries: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Seat]]:
    tokens = tmp_path_factory.mktemp("tokens") / "tokens.csv"
    tokens.write_text(TOKENS)
    flags = (f"--token-auth-file={tokens}",)
    with ExitStack() as stack:
        real = ControlPlane(binaries, service_cidrs=("10.96.0.0/16",), controllers=QUIET, apiserver_flags=flags)
        ours = LabServer(binaries, controllers=QUIET, tokens=TOKENS)
        kubeconfigs = {"real": stack.enter_context(real).kubeconfig(), "ours": stack.enter_context(ours).kubeconfig()}
        yield [
            Seat(name, binaries / "kubectl", kubeconfig, tmp_path_factory.mktemp(name))
            for name, kubeconfig in kubeconfigs.items()
        ]


@pytest.fixture(scope="module")
def disagreements(seats: list[Seat], request: pytest.FixtureRequest) -> Iterator[dict[str, Future[dict[str, str]]]]:
    """By script, what the servers answer differently. All asked for run ahead: some alone, then a few at once."""

    def judged(name: str) -> dict[str, str]:
        namespace, script = f"judged-{name}", SCRIPTS[name]
        for seat in seats:
            made_namespace(seat, namespace)
        real, ours = on_all(played if isinstance(script, str) else asked, script, seats, namespace)
        return differences(real, ours)

    mine = [name for name in SCRIPTS if any(f"[{name}]" in item.name for item in request.session.items)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        first = {name: pool.submit(judged, name) for name in mine if name in ALONE}
        wait(first.values())
        yield {**first, **{name: pool.submit(judged, name) for name in mine if name not in ALONE}}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", SCRIPTS)
def test_both_answer_the_same(name: str, disagreements: dict[str, Future[dict[str, str]]]) -> None:
    wrong = unexpected(disagreements[name].result(), ACCEPTED.get(name, {}))
    assert not wrong, f"{len(wrong)} answers differ (- real, + ours):\n" + "\n".join(wrong)


def test_more_than_a_thousand_command_lines_are_judged() -> None:
    assert sum(len(played_lines(script)) for script in KUBECTL.values()) > 1000


def played_lines(script: str) -> list[str]:
    return [row for row in script.splitlines() if row and not row.startswith((" ", "#", "file "))]
