"""A reflector through whatever happens on the wire, against a scripted server on loopback."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from kube.scripted import Reply, ScriptedServer, answer, promised, refusal, silence, watching
from support.waiting import eventually
from svckube.access import from_kubeconfig
from svckube.objects import KubeObject, ObjectMeta, Service
from svckube.reflector import SERVICES, Reflector, Resource
from svckube.store import Listed, Store
from svckube.stream import Applied, Deleted


def service(name: str, version: int, **spec: object) -> dict[str, object]:
    return {"metadata": {"name": name, "namespace": "ns", "resourceVersion": str(version)}, "spec": spec}


def listing(version: int, *items: dict[str, object], more: str = "") -> Reply:
    metadata = {"resourceVersion": str(version), **({"continue": more} if more else {})}
    return answer(200, {"kind": "ServiceList", "metadata": metadata, "items": items})


def event(kind: str, obj: dict[str, object]) -> bytes:
    return json.dumps({"type": kind, "object": obj}).encode() + b"\n"


def bookmark(version: int) -> bytes:
    return event("BOOKMARK", {"metadata": {"resourceVersion": str(version)}})


EXPIRED = event("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"})
BROKEN = event("ERROR", {"kind": "Status", "code": 500, "reason": "InternalError", "message": "etcd is unhappy"})
HELD = watching(end="silence")


class Listener:
    """Keeps what is delivered, as rows and in a store."""

    def __init__(self) -> None:
        self.rows: list[str] = []
        self.store = Store((Service,))

    def __call__(self, batch: list[Listed | Applied | Deleted]) -> None:
        for message in batch:
            self.store.apply(message)
            if isinstance(message, Listed):
                self.rows.append("list " + " ".join(one.metadata.name for one in message.objects))
            else:
                name, version = message.object.metadata.name, message.object.metadata.resource_version
                self.rows.append(f"{type(message).__name__} {name}@{version}")


Start = Callable[..., tuple[Reflector, Listener]]


@pytest.fixture
def start(api: ScriptedServer, tmp_path: Path) -> Iterator[Start]:
    """Starts a reflector on the scripted server; a short stall by default, and stopped after the test."""
    config = tmp_path / "kubeconfig"
    config.write_text(
        json.dumps(
            {
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "c"}}],
                "clusters": [{"name": "c", "cluster": {"server": api.url}}],
            }
        )
    )
    running: list[Reflector] = []

    def begin(
        script: list[Reply], resource: Resource = SERVICES, stall_seconds: float = 20.0, **more: Any
    ) -> tuple[Reflector, Listener]:  # with dice that always say 0.0, so that no back-off is waited for
        api.script = script
        listener = Listener()
        reflector = Reflector(
            from_kubeconfig(str(config)), resource, listener, stall_seconds=stall_seconds, dice=lambda: 0.0, **more
        )
        running.append(reflector)
        reflector.start()
        return reflector, listener

    yield begin
    for reflector in running:
        reflector.stop()


def asked(api: ScriptedServer) -> list[str]:
    """Each request in short: `list …` or `watch @version`."""
    rows = []
    for request in api.requests:
        query = request.query
        if query.get("watch") == "true":
            rows.append(f"watch @{query['resourceVersion']}")
        else:
            words = (f"{name}={query[name]}" for name in ("resourceVersion", "limit", "continue") if name in query)
            rows.append(" ".join(["list", *words]))
    return rows


A, B = service("a", 1), service("b", 2)


@pytest.mark.parametrize(
    ("script", "requests", "delivered"),
    [
        pytest.param(
            [listing(5, A, B), watching(event("MODIFIED", service("a", 6)), event("DELETED", service("b", 7)))],
            ["list resourceVersion=0", "watch @5", "watch @7"],
            ["list a b", "Applied a@6", "Deleted b@7"],
            id="list-then-watch-then-resume-where-it-ended",
        ),
        pytest.param(
            [listing(5, A), watching(bookmark(90))],
            ["list resourceVersion=0", "watch @5", "watch @90"],
            ["list a"],
            id="a-bookmark-moves-the-point-to-resume-from",
        ),
        pytest.param(
            [listing(5, A), watching(event("ADDED", B)[:40], end="cut"), watching(event("ADDED", service("b", 6)))],
            ["list resourceVersion=0", "watch @5", "watch @5", "watch @6"],
            ["list a", "Applied b@6"],
            id="half-an-event-is-none",
        ),
        pytest.param(
            [listing(5, A), watching(event("ADDED", service("b", 6)) + event("ADDED", A)[:9], end="cut")],
            ["list resourceVersion=0", "watch @5", "watch @6"],
            ["list a", "Applied b@6"],
            id="what-came-before-the-cut-counts",
        ),
        pytest.param(
            [listing(5, A), watching(end="reset")],
            ["list resourceVersion=0", "watch @5", "watch @5"],
            ["list a"],
            id="a-reset-resumes",
        ),
        pytest.param(
            [listing(5, A), watching(bookmark(6), BROKEN)],
            ["list resourceVersion=0", "watch @5", "watch @6"],
            ["list a"],
            id="an-error-event-resumes",
        ),
        pytest.param(
            [listing(5, A), watching(event("ADDED", B) + EXPIRED), listing(90, B)],
            ["list resourceVersion=0", "watch @5", "list limit=500", "watch @90"],
            ["list a", "Applied b@2", "list b"],
            id="410-as-an-event",
        ),
        pytest.param(
            [listing(5, A), refusal(410, "too old resource version"), listing(90, B)],
            ["list resourceVersion=0", "watch @5", "list limit=500", "watch @90"],
            ["list a", "list b"],
            id="410-as-a-status",
        ),
        pytest.param(
            [refusal(410, "gone"), listing(90, A, more="t1"), listing(90, B, more="t2"), listing(90, service("c", 3))],
            ["list resourceVersion=0", "list limit=500", "list limit=500 continue=t1", "list limit=500 continue=t2"],
            ["list a b c"],
            id="pages-are-one-list",
        ),
        pytest.param(
            [refusal(410, "gone"), listing(90, A, more="t1"), refusal(410, "continue token expired"), listing(99, B)],
            ["list resourceVersion=0", "list limit=500", "list limit=500 continue=t1", "list", "watch @99"],
            ["list b"],
            id="410-in-the-middle-of-pages-starts-again-in-one-piece",
        ),
        pytest.param(
            [refusal(503, "starting"), promised(999, b'{"metadata":'), answer(200, b"<html>"), listing(5, A)],
            ["list resourceVersion=0"] * 4 + ["watch @5"],
            ["list a"],
            id="a-list-that-fails-is-asked-for-again",
        ),
        pytest.param(
            [listing(5, A), watching(event("ADDED", service("bad", 6, ports=7))), watching(bookmark(7))],
            ["list resourceVersion=0", "watch @5", "watch @6", "watch @7"],
            ["list a"],
            id="an-undecodable-object-is-passed-by",
        ),
    ],
)
def test_what_is_asked_and_what_is_delivered(
    api: ScriptedServer, start: Start, script: list[Reply], requests: list[str], delivered: list[str]
) -> None:
    _, listener = start([*script, HELD])
    eventually(lambda: len(asked(api)) >= len(requests), f"{len(requests)} requests", seconds=20)
    assert asked(api)[: len(requests)] == requests
    eventually(lambda: len(listener.rows) >= len(delivered), "the deliveries")
    assert listener.rows == delivered


def test_selectors_and_bookmarks_are_asked_for(api: ScriptedServer, start: Start) -> None:
    chosen = replace(SERVICES, label_selector="!a/b", field_selector="spec.clusterIP!=None")
    start([listing(5), HELD], chosen)
    eventually(lambda: len(api.requests) == 2, "a list and a watch")
    listed, watched = (request.query for request in api.requests)
    selectors = {"labelSelector": "!a/b", "fieldSelector": "spec.clusterIP!=None"}
    assert listed == {**selectors, "resourceVersion": "0"}
    assert 300 <= int(watched.pop("timeoutSeconds")) < 600
    assert watched == {**selectors, "watch": "true", "allowWatchBookmarks": "true", "resourceVersion": "5"}


def test_what_is_listed_is_made_lighter_and_what_is_watched_is_not(api: ScriptedServer, start: Start) -> None:
    def lighter(thing: KubeObject) -> KubeObject:
        return replace(thing, metadata=ObjectMeta("light", resource_version=thing.metadata.resource_version))

    script = [listing(5, A), watching(event("ADDED", service("b", 6))), HELD]
    _, listener = start(script, lighter=lighter)
    eventually(lambda: len(listener.rows) == 2, "a list and a change")
    assert listener.rows == ["list light", "Applied b@6"]


def test_silence_is_a_stall_and_is_resumed(api: ScriptedServer, start: Start) -> None:
    reflector, listener = start(
        [listing(5), watching(bookmark(6), end="silence"), silence, watching(event("ADDED", service("a", 7)))],
        stall_seconds=0.2,
    )
    eventually(lambda: "Applied a@7" in listener.rows, "the event after a stall and a connection without an answer")
    assert asked(api)[:4] == ["list resourceVersion=0", "watch @5", "watch @6", "watch @6"]
    assert (reflector.counts.stalls, reflector.counts.lists) == (2, 1)


def test_a_watch_that_never_said_a_word_is_not_resumed(api: ScriptedServer, start: Start) -> None:
    reflector, listener = start([listing(500, A), HELD, listing(90, B)], stall_seconds=0.2)
    eventually(lambda: listener.rows == ["list a", "list b"], "the list of a server that went back in time")
    assert asked(api)[:3] == ["list resourceVersion=0", "watch @500", "list limit=500"]
    assert reflector.counts.stalls >= 1


def test_retry_after_is_waited_for(api: ScriptedServer, start: Start) -> None:
    start([refusal(429, "too many requests", Retry_After="1"), listing(5), HELD])
    eventually(lambda: len(api.requests) == 3, "list, list, watch")
    assert api.requests[1].at - api.requests[0].at >= 1.0


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [
        {"event": record.getMessage(), **getattr(record, "fields", {})}
        for record in caplog.records
        if record.name.startswith("svckube")
    ]


@pytest.mark.parametrize(
    ("refused", "hints"),
    [
        pytest.param([refusal(403, "forbidden")] * 3, ["grant get, list and watch on services"], id="403"),
        pytest.param([refusal(404, "not found")] * 2, ["does not serve /api/v1/services"], id="404"),
        pytest.param([refusal(503, "busy")] * 3, [""], id="503"),
        pytest.param(
            [refusal(503, "busy"), refusal(403, "no"), refusal(503, "busy")], ["", "grant"], id="each-reason-once"
        ),
    ],
)
def test_an_outage_is_a_line_at_its_start_and_one_at_its_end(
    api: ScriptedServer, start: Start, caplog: pytest.LogCaptureFixture, refused: list[Reply], hints: list[str]
) -> None:
    with caplog.at_level(logging.INFO):
        _, listener = start([*refused, listing(5), HELD])
        eventually(lambda: listener.rows == ["list "], "the list after the outage", seconds=20)
    said = lines(caplog)
    assert [one["event"] for one in said] == ["outage"] * len(hints) + ["outage over"]
    assert all(one["kind"] == "Service" for one in said)
    assert all(hint in one["hint"] for hint, one in zip(hints, said, strict=False))


def test_a_healthy_reflector_is_silent(api: ScriptedServer, start: Start, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        _, listener = start([listing(5), watching(event("ADDED", service("a", 7)), bookmark(8)), HELD])
        eventually(lambda: len(api.requests) == 3, "list, watch, watch")
    assert listener.rows == ["list ", "Applied a@7"]
    assert lines(caplog) == []


def test_an_undecodable_object_is_logged_once_and_keeps_its_last_good_value(
    api: ScriptedServer, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    bad = [event("MODIFIED", service("a", version, ports=7)) for version in (6, 7)]
    with caplog.at_level(logging.INFO):
        reflector, listener = start(
            [listing(5, A, B), watching(*bad, EXPIRED), listing(9, service("a", 8, ports=7), service("c", 9)), HELD]
        )
        eventually(lambda: reflector.counts.lists == 2 and len(listener.rows) == 2, "the second list")
    assert sorted(listener.store.objects(Service)) == ["ns/a", "ns/c"]
    assert reflector.counts.skipped == 3
    skipped = [one for one in lines(caplog) if one["event"] == "object skipped"]
    assert [one["object"] for one in skipped] == ["ns/a"]


def test_counts_tell_the_story(api: ScriptedServer, start: Start) -> None:
    began = time.time()
    reflector, _ = start([refusal(500, "oops"), listing(5), watching(EXPIRED), listing(6), HELD])
    eventually(lambda: reflector.counts.watches == 2, "the second watch")
    counts = reflector.counts
    assert (counts.lists, counts.expired, counts.failures, counts.stalls, counts.alive) == (2, 1, 1, 0, True)
    assert began <= counts.contact <= time.time()


@pytest.mark.parametrize(
    "script",
    [
        pytest.param([listing(5), HELD], id="in-a-watch"),
        pytest.param([refusal(503, "busy", Retry_After="60")], id="in-a-wait"),
    ],
)
def test_stop_ends_at_once(api: ScriptedServer, start: Start, script: list[Reply]) -> None:
    before = threading.active_count()
    reflector, _ = start(list(script))
    eventually(lambda: len(api.requests) == len(script) and not api.script, "the last request")
    began = time.monotonic()
    reflector.stop(5.0)
    assert time.monotonic() - began < 1.0
    eventually(lambda: threading.active_count() <= before + len(script), "the reflector's thread to be gone")


def test_nothing_is_delivered_after_stop(api: ScriptedServer, start: Start) -> None:
    gate = threading.Event()

    def late(connection: Any) -> None:
        gate.wait(10)
        listing(5, A)(connection)

    reflector, listener = start([late])
    eventually(lambda: api.requests, "the list request")
    reflector.stop(0.1)
    gate.set()
    eventually(lambda: not reflector._thread.is_alive(), "the thread to end")
    assert listener.rows == []


def test_an_error_of_the_listener_is_not_swallowed(
    api: ScriptedServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tmp_path / "k"
    clusters = [{"name": "c", "cluster": {"server": api.url}}]
    contexts = [{"name": "c", "context": {"cluster": "c"}}]
    config.write_text(json.dumps({"current-context": "c", "contexts": contexts, "clusters": clusters}))
    api.script = [listing(5, A)]

    def broken(batch: object) -> None:
        raise RuntimeError("no room")

    reflector = Reflector(from_kubeconfig(str(config)), SERVICES, broken)
    reflector.start()
    eventually(lambda: not reflector.counts.alive, "the thread to give up")
    assert "reflector died" in [one["event"] for one in lines(caplog)]
