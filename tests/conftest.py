"""Fixtures for tests that run real programs (marker `peers`). Pure tests need none of this and pay for none of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from peers.build import BuildError, built
from peers.control_plane import ControlPlane
from support.waiting import eventually

BINARIES = pytest.StashKey[Path | BuildError]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--vm-suite", default="bookworm", help="the Debian release of the vm tests' machines")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build before the first test: a cold build takes minutes, and a test's time-out covers its fixtures."""
    if session.config.option.collectonly or not any(item.get_closest_marker("peers") for item in session.items):
        return
    try:
        session.config.stash[BINARIES] = built()
    except BuildError as error:
        session.config.stash[BINARIES] = error  # pure tests run all the same; each test that needs a peer fails


@pytest.fixture(scope="session")
def binaries(pytestconfig: pytest.Config) -> Path:
    """The folder that holds the programs of `peers.build.FOR_TESTS`, each under its own name."""
    outcome = pytestconfig.stash.get(BINARIES, None)
    if outcome is None:
        raise pytest.UsageError("a test that runs real programs carries the marker `peers`")
    if isinstance(outcome, BuildError):
        raise outcome
    return outcome


@pytest.fixture(scope="session")
def control_plane(binaries: Path) -> Iterator[ControlPlane]:
    """One for all tests: etcd, API server, controller manager. Do not break it; keep to a namespace of your own."""
    with ControlPlane(binaries) as running:
        yield running


@pytest.fixture
def fresh_control_plane(binaries: Path) -> Iterator[ControlPlane]:
    """One of its own, for a test that kills, freezes or restarts it. Costs three seconds."""
    with ControlPlane(binaries) as running:
        yield running


@pytest.fixture(scope="session")
def _namespace_numbers() -> Iterator[int]:
    return itertools.count(1)


@pytest.fixture
def namespace(control_plane: ControlPlane, _namespace_numbers: Iterator[int]) -> Iterator[str]:
    """The name of an empty namespace in `control_plane`, ready for pods; deleted afterwards without waiting."""
    name = f"test-{next(_namespace_numbers)}"
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    control_plane.request("POST", "/api/v1/namespaces", made)
    eventually(lambda: control_plane.has_service_account(name), f"namespace {name} takes pods")
    yield name
    control_plane.request("DELETE", f"/api/v1/namespaces/{name}")
