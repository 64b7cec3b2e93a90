"""/healthz and /livez: status and body as kube-proxy gives them. Pure."""

from __future__ import annotations

import pytest

from support.nodes import node
from svcagent.health import Health, eligible, timestamp
from svckube.objects import Node, ObjectMeta

NOW = 1_795_000_000.0
PATIENCE = 60.0
TAINTED = node(taints=[{"key": "ToBeDeletedByClusterAutoscaler"}])
LEAVING = Node(metadata=ObjectMeta(name="node", deletion_timestamp="2026-11-21T00:00:00Z"))


def health(on: Node | None) -> Health:
    found = Health(PATIENCE)
    found.node(on)
    return found


TIMES = [
    (0.0, "0001-01-01T00:00:00Z"),
    (1_795_000_000.0, "2026-11-18T11:06:40Z"),
    (1_795_000_000.5, "2026-11-18T11:06:40.5Z"),
    (1_795_000_000.315460, "2026-11-18T11:06:40.31546Z"),
]


@pytest.mark.parametrize(("seconds", "text"), TIMES, ids=[row[1] for row in TIMES])
def test_times_are_gos(seconds: float, text: str) -> None:
    assert timestamp(seconds) == text


NODES: list[tuple[str, Node | None, bool]] = [
    ("there", node("192.0.2.1"), True),
    ("not seen", None, False),
    ("being deleted", LEAVING, False),
    ("scaled away", TAINTED, False),
    ("other taint", node(taints=[{"key": "node.kubernetes.io/unreachable"}]), True),
]


@pytest.mark.parametrize(("on", "wanted"), [row[1:] for row in NODES], ids=[row[0] for row in NODES])
def test_which_nodes_should_get_traffic(on: Node | None, wanted: bool) -> None:
    assert eligible(on) is wanted
    found = health(on)
    assert found.healthz(NOW)[0] == (200 if wanted else 503)
    assert found.livez(NOW)[0] == 200


def test_the_body_of_healthz() -> None:
    found = health(node())
    found.updated("IPv6", NOW - 1)
    found.updated("IPv4", NOW - 2)
    assert found.healthz(NOW) == (
        200,
        b'{"lastUpdated":"2026-11-18T11:06:40Z","currentTime":"2026-11-18T11:06:40Z","nodeEligible":true,"healthy":true,'
        b'"status":{"IPv4":{"lastUpdated":"2026-11-18T11:06:38Z","healthy":true},'
        b'"IPv6":{"lastUpdated":"2026-11-18T11:06:39Z","healthy":true}}}',
    )


def test_livez_has_no_word_on_the_node_and_no_status_before_there_is_one() -> None:
    assert health(None).livez(NOW) == (
        200,
        b'{"lastUpdated":"2026-11-18T11:06:40Z","currentTime":"2026-11-18T11:06:40Z","healthy":true}',
    )


def test_a_node_that_should_get_no_traffic_is_healthy_all_the_same() -> None:
    status, body = health(TAINTED).healthz(NOW)
    assert status == 503
    assert b'"nodeEligible":false,"healthy":true' in body
    assert body.startswith(b'{"lastUpdated":"0001-01-01T00:00:00Z"')


WAITING = [
    ("just queued", 0.0, True),
    ("within patience", PATIENCE - 0.1, True),
    ("out of patience", PATIENCE, False),
]


@pytest.mark.parametrize(("waited", "well"), [row[1:] for row in WAITING], ids=[row[0] for row in WAITING])
@pytest.mark.parametrize("written", [False, True], ids=["never written", "written before"])
def test_a_change_that_waits_too_long_is_unhealthy(waited: float, well: bool, written: bool) -> None:
    found = health(node())
    if written:
        found.updated("IPv4", NOW - 10)
    found.queued("IPv4", NOW)
    found.queued("IPv4", NOW + 1)  # a later one does not make the first one younger
    assert found.livez(NOW + waited)[0] == (200 if well else 503)
    assert found.healthz(NOW + waited)[0] == (200 if well else 503)


def test_one_family_is_enough_to_be_unhealthy_and_a_write_mends_it() -> None:
    found = health(node())
    found.updated("IPv4", NOW)
    found.queued("IPv6", NOW)
    status, body = found.livez(NOW + PATIENCE)
    assert status == 503
    assert body.startswith(b'{"lastUpdated":"2026-11-18T11:06:40Z"'), "the last real update, when it is not well"
    assert b'"IPv4":{"lastUpdated":"2026-11-18T11:06:40Z","healthy":true}' in body
    assert b'"IPv6":{"lastUpdated":"0001-01-01T00:00:00Z","healthy":false}' in body
    found.updated("IPv6", NOW + PATIENCE)
    assert found.livez(NOW + 10 * PATIENCE)[0] == 200


def test_giving_way_to_another_program_is_unhealthy_at_once_and_no_restart_is_asked_for() -> None:
    found = health(node())
    found.updated("IPv4", NOW)
    found.queued("IPv4", NOW)
    found.gives_way = True
    for moment in (NOW, NOW + 10 * PATIENCE):
        assert found.livez(moment)[0] == 200
        status, body = found.healthz(moment)
        assert status == 503
        assert b'"nodeEligible":true,"healthy":false' in body
    found.gives_way = False
    assert found.healthz(NOW)[0] == 200
