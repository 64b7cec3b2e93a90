"""What a running agent says of itself, as JSON and as text, and who asks for it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import msgspec
import pytest

from support import commands
from svcagent import status
from svcagent.inspection.status_command import NotRunningError
from svcagent.status import FamilyState, ForeignStatusError, Status
from svckube import observe

NOW = 1_800_000_000.0
HOUR = 3600.0

GOOD = FamilyState(
    synced_since=NOW - HOUR,
    last_change=NOW - 42,
    chains={"nat": 6004, "filter": 7},
    rules={"nat": 17005, "filter": 12},
)
WELL = Status(
    node="node-a",
    version="0.1.0",
    iptables="nft",
    now=NOW,
    started=NOW - HOUR,
    listed=("EndpointSlice", "Node", "Service"),
    services=1000,
    endpoint_slices=1000,
    endpoints=5000,
    families={"IPv4": GOOD},
)
FAILING = msgspec.structs.replace(
    GOOD, synced_since=0.0, waiting_since=NOW - 75, error="iptables-nft-restore: line 3", error_at=NOW - 5, healed=2
)


def changed(**fields: object) -> Status:
    return msgspec.structs.replace(WELL, **fields)


TEXTS = [
    pytest.param(
        WELL,
        "svcplane-agent 0.1.0 on node node-a, nft, since 2027-01-15T07:00:00Z (1h)\n"
        "1000 Services, 1000 EndpointSlices, 5000 endpoints\n"
        "IPv4: synced since 2027-01-15T07:00:00Z (1h); last change 42s ago\n"
        "  holds filter 7 chains 12 rules, nat 6004 chains 17005 rules\n",
        id="well",
    ),
    pytest.param(
        changed(families={"IPv6": FAILING}, problems={"shop/web": ("externalIP 'x' is not an IP address",)}),
        "svcplane-agent 0.1.0 on node node-a, nft, since 2027-01-15T07:00:00Z (1h)\n"
        "1000 Services, 1000 EndpointSlices, 5000 endpoints\n"
        "IPv6: NOT SYNCED; last change 42s ago\n"
        "  holds filter 7 chains 12 rules, nat 6004 chains 17005 rules\n"
        "  a change has been waiting for 1m15s\n"
        "  somebody else's changes undone: 2\n"
        "  last error, 5s ago: iptables-nft-restore: line 3\n"
        "Service shop/web: externalIP 'x' is not an IP address\n",
        id="failing",
    ),
    pytest.param(
        changed(listed=("Node",), services=0, endpoint_slices=0, endpoints=0, families={"IPv4": FamilyState()}),
        "svcplane-agent 0.1.0 on node node-a, nft, since 2027-01-15T07:00:00Z (1h)\n"
        "0 Services, 0 EndpointSlices, 0 endpoints (waiting for the API server to list: Service, EndpointSlice)\n"
        "IPv4: NOT SYNCED; nothing written yet\n"
        "  holds nothing\n",
        id="just started",
    ),
]


@pytest.mark.parametrize(("snapshot", "text"), TEXTS)
def test_text_is_for_people(snapshot: Status, text: str) -> None:
    assert status.text(snapshot) == text


@pytest.mark.parametrize("snapshot", [WELL, changed(families={"IPv6": FAILING, "IPv4": GOOD})], ids=["well", "failing"])
def test_the_body_is_read_back(snapshot: Status) -> None:
    assert status.read(status.body(snapshot)) == snapshot


def test_names_in_the_body_are_those_of_the_api() -> None:
    found = json.loads(status.body(WELL))
    assert {"endpointSlices", "families", "node", "started"} <= found.keys()
    assert found["families"]["IPv4"]["syncedSince"] == NOW - HOUR


@pytest.mark.parametrize("answer", [b"ok", b"{}", b'{"node": 1}', b""], ids=["text", "empty", "mistyped", "nothing"])
def test_a_foreign_answer_is_refused(answer: bytes) -> None:
    with pytest.raises(ForeignStatusError):
        status.read(answer)


AGES = [
    (0, "0s"),
    (59.9, "59s"),
    (60, "1m"),
    (3599, "59m59s"),
    (3600, "1h"),
    (90000, "1d1h"),
    (86400, "1d"),
    (-3, "0s"),
]


@pytest.mark.parametrize(("seconds", "text"), AGES, ids=[text for _, text in AGES])
def test_ages(seconds: float, text: str) -> None:
    assert status.duration(seconds) == text


HELD = {"chains": {"nat": 6}, "rules": {"nat": 9}}
LIVES = [
    pytest.param(FamilyState(), FamilyState(), id="nothing yet"),
    pytest.param(FamilyState().asked(3).asked(4), FamilyState(waiting_since=3), id="the first wait counts"),
    pytest.param(
        FamilyState().asked(3).passed(5, changed=True, **HELD),
        FamilyState(synced_since=5, last_change=5, **HELD),
        id="synced",
    ),
    pytest.param(
        FamilyState().passed(5, changed=True, **HELD).asked(7).passed(8, changed=False, **HELD),
        FamilyState(synced_since=5, last_change=5, **HELD),
        id="synced since the first pass; nothing to write is no change",
    ),
    pytest.param(
        FamilyState().passed(5, changed=True, **HELD).asked(6).failed(7, "no"),
        FamilyState(last_change=5, waiting_since=6, error="no", error_at=7, **HELD),
        id="a failure ends being synced",
    ),
    pytest.param(
        FamilyState().failed(7, "no").passed(9, changed=True, **HELD),
        FamilyState(synced_since=9, last_change=9, error="no", error_at=7, **HELD),
        id="the last error stays to be seen",
    ),
    pytest.param(FamilyState().healing().healing(), FamilyState(healed=2), id="healed"),
]


@pytest.mark.parametrize(("lived", "state"), LIVES)
def test_the_life_of_a_family(lived: FamilyState, state: FamilyState) -> None:
    assert lived == state


@contextmanager
def agent(path: str, code: int, body: bytes) -> Iterator[str]:
    server = observe.serve("127.0.0.1:0", {path: lambda: (code, "application/json", body)})
    try:
        yield server.address
    finally:
        server.close()


@pytest.mark.parametrize(
    ("families", "code"),
    [pytest.param({"IPv4": GOOD}, 0, id="well"), pytest.param({"IPv4": GOOD, "IPv6": FAILING}, 1, id="failing")],
)
def test_the_exit_status_tells_how_it_is(
    families: dict[str, FamilyState], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshot = changed(families=families)
    with agent(status.PATH, HTTPStatus.OK, status.body(snapshot)) as address:
        assert commands.status("--metrics-bind-address", address) == code
        assert capsys.readouterr().out == status.text(snapshot)
        assert commands.status("--metrics-bind-address", address, "--json") == code
        assert status.read(capsys.readouterr().out.encode()) == snapshot


def test_an_agent_that_does_not_run_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(NotRunningError, match=f"nobody listens on {address}: is svcplane-agent running"):
        commands.status("--metrics-bind-address", address)


OTHERS = [
    pytest.param("/metrics", HTTPStatus.OK, b"", "answers /status with 404", id="kube-proxy"),
    pytest.param(status.PATH, HTTPStatus.OK, b"ok", "is no status of an agent", id="something else"),
    pytest.param(status.PATH, HTTPStatus.INTERNAL_SERVER_ERROR, b"", "with 500", id="a fault"),
]


@pytest.mark.parametrize(("path", "code", "body", "message"), OTHERS)
def test_somebody_elses_server_is_told_apart(path: str, code: int, body: bytes, message: str) -> None:
    with agent(path, code, body) as address, pytest.raises(NotRunningError, match=message):
        commands.status("--metrics-bind-address", address)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:x", "127.0.0.1:0", ""])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(NotRunningError, match="is not ADDRESS:PORT"):
        commands.status("--metrics-bind-address", address)
