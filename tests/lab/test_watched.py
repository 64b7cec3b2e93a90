"""Local copies of several resources, kept from a scripted API server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kube.scripted import Reply, ScriptedServer, answer, watching
from support.waiting import eventually
from svckube.access import from_kubeconfig
from svclab.watched import Seen, Watched, resource


def pod(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "shop", "resourceVersion": str(version)}, "spec": {"kept": [1]}}


def listing(version: int, *items: dict[str, Any]) -> Reply:
    return answer(200, {"metadata": {"resourceVersion": str(version)}, "items": items})


def event(kind: str, body: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": body}).encode() + b"\n"


def access_to(server: ScriptedServer, folder: Path) -> Any:
    config = folder / "kubeconfig"
    config.write_text(
        json.dumps(
            {
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "c"}}],
                "clusters": [{"name": "c", "cluster": {"server": server.url}}],
            }
        )
    )
    return from_kubeconfig(str(config))


def test_a_copy_follows_a_list_and_a_watch(tmp_path: Path) -> None:
    server = ScriptedServer()
    server.script = [
        listing(5, pod("a", 3), pod("b", 4)),
        watching(
            event("MODIFIED", pod("a", 6)), event("ADDED", pod("c", 7)), event("DELETED", pod("b", 8)), end="silence"
        ),
    ]
    watched = Watched(access_to(server, tmp_path), [resource("/api/v1/pods")])
    assert not watched.synced
    seen: list[Seen] = []
    watched.start()
    eventually(lambda: seen.extend(watched.wait(0.1)) or len(seen) == 5, "all events have been seen")
    watched.stop()
    server.close()
    assert watched.synced
    assert watched.tables == {"pods": {"shop/a": pod("a", 6), "shop/c": pod("c", 7)}}
    assert seen == [
        Seen("pods", "shop/a", None, pod("a", 3)),
        Seen("pods", "shop/b", None, pod("b", 4)),
        Seen("pods", "shop/a", pod("a", 3), pod("a", 6)),
        Seen("pods", "shop/c", None, pod("c", 7)),
        Seen("pods", "shop/b", pod("b", 4), None),
    ]


def test_a_relist_tells_only_what_differs(tmp_path: Path) -> None:
    server = ScriptedServer()
    expired = {"kind": "Status", "code": 410, "message": "too old"}
    server.script = [
        listing(5, pod("a", 3), pod("b", 4)),
        watching(event("ERROR", expired)),
        listing(9, pod("a", 3), pod("c", 8)),
    ]
    watched = Watched(access_to(server, tmp_path), [resource("/api/v1/pods")])
    seen: list[Seen] = []
    watched.start()
    eventually(lambda: seen.extend(watched.wait(0.1)) or len(seen) == 4, "the relist has been seen")
    watched.stop()
    server.close()
    assert seen[2:] == [Seen("pods", "shop/c", None, pod("c", 8)), Seen("pods", "shop/b", pod("b", 4), None)]


def test_wake_ends_a_wait(tmp_path: Path) -> None:
    watched = Watched(access_to(ScriptedServer(), tmp_path), [])
    watched.wake()
    assert watched.wait(60.0) == []
