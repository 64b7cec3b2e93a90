"""kubectl before a whole control plane: the real one, the real controllers on our API server, and all ours.

Nodes have no kubelets: `Kubelets` plays them. Where the real controllers are on our server it plays the scheduler too,
because the real one waits for volumes and claims, kinds that we do not serve.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import pytest

from peers.control_plane import ControlPlane
from peers.lab_judge import Said, Seat, differences, made_namespace, on_all, played, unexpected
from peers.lab_pods import Kubelets
from peers.lab_scripts_controlled import SCRIPTS
from peers.lab_server import LabServer
from peers.test_lab_apiserver_life import CONTROLLERS

pytestmark = pytest.mark.peers

REAL, REAL_ON_OURS, OURS = "real", "real controllers on our server", "ours"
AT_ONCE = 3
# A template's hash is Go's own way to print a struct. Real controllers must agree on it, ours need not.
HASHES = [
    (r"(?<=-)[bcdfghjklmnpqrstvwxz2456789]{6,10}(?=-<random>|[\s\",])", "<hash>"),
    (r"(hash[=:] ?)\w+", r"\1<hash>"),
]

# (script, which): {what was asked: why the answers may differ}
NO_SCHEDULER = "the real scheduler is not there, and nobody else looks at a node selector"
ACCEPTED: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("pending", REAL_ON_OURS): {
        "wait pod pinned --for=condition=PodScheduled=false --timeout=10s": NO_SCHEDULER,
        "describe pod pinned": NO_SCHEDULER,
    },
}
Transcripts: TypeAlias = dict[str, Future[dict[str, list[Said]]]]


@pytest.fixture(scope="module")
def seats(binaries: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Seat]]:
    with ExitStack() as stack:
        real = stack.enter_context(
            ControlPlane(binaries, service_cidrs=("10.96.0.0/16",), controllers=CONTROLLERS, scheduler=True)
        )
        mixed = stack.enter_context(LabServer(binaries, controllers=CONTROLLERS))
        ours = stack.enter_context(LabServer(binaries, own_controllers=True))
        seats = []
        for name, kubeconfig in (
            (REAL, real.kubeconfig()),
            (REAL_ON_OURS, mixed.kubeconfig()),
            (OURS, ours.kubeconfig()),
        ):
            seats.append(Seat(name, binaries / "kubectl", kubeconfig, tmp_path_factory.mktemp("seat")))
            stack.enter_context(Kubelets(seats[-1].https(), places=name == REAL_ON_OURS))
        yield seats


@pytest.fixture(scope="module")
def transcripts(
    seats: list[Seat], request: pytest.FixtureRequest
) -> Iterator[dict[str, Future[dict[str, list[Said]]]]]:
    """By script, then by seat. Everything that was asked for runs ahead, a few at once."""

    def said(name: str) -> dict[str, list[Said]]:
        namespace = f"controlled-{name}"
        for seat in seats:
            made_namespace(seat, namespace)
        return dict(zip((seat.name for seat in seats), on_all(played, SCRIPTS[name], seats, namespace), strict=True))

    mine = [name for name in SCRIPTS if any(f"{name}]" in item.name for item in request.session.items)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {name: pool.submit(said, name) for name in mine}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("which", [REAL_ON_OURS, OURS])
def test_kubectl_sees_the_same(name: str, which: str, transcripts: Transcripts) -> None:
    said = transcripts[name].result()
    found = differences(said[REAL], said[which], HASHES if which == OURS else ())
    wrong = unexpected(found, ACCEPTED.get((name, which), {}))
    assert not wrong, f"{len(wrong)} answers differ (- real, + {which}):\n" + "\n".join(wrong)
