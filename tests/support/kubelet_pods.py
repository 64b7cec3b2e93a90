"""Pods as a kubelet sees them, for tables: a Pod of the API, and what ran of it."""

from __future__ import annotations

from typing import Any

import msgspec

from svclab.identity import Identity
from svclab.kubelet.backoff import Backoff
from svclab.kubelet.pods import Container, Ending, Pod, Run, Sandbox, fresh

BEGAN = 1_000_000.0  # when the pods of the tables were given to the node
PROCESS = Identity(4, 4, "")
HOST = ("192.168.56.11",)


def body(*containers: dict[str, Any], inits: tuple[dict[str, Any], ...] = (), **spec: Any) -> dict[str, Any]:
    """A Pod `default/web`; containers without a name are called a, b, …"""
    named = [
        {"name": chr(ord("a") + number), "image": "nginx", **one} for number, one in enumerate(containers or ({},))
    ]
    first = [{"name": f"i{number}", "image": "busybox", **one} for number, one in enumerate(inits)]
    meta = {"name": "web", "namespace": "default", "uid": "u-1", "labels": {"app": "web"}}
    return {"metadata": meta, "spec": {"containers": named, **({"initContainers": first} if first else {}), **spec}}


def pod(found: dict[str, Any], *, sandbox: bool = True) -> Pod:
    made = fresh(found, BEGAN)
    made.sandbox = Sandbox(PROCESS, PROCESS, ("10.244.1.2",), "svcp1") if sandbox else None
    return made


def ran(one: Container, *, code: int | None = None, attempt: int = 0, begun: bool = True, waits: float = 0.0) -> None:
    """The container runs since BEGAN + 1, or ended with `code` at BEGAN + 2 and waits so long for the next run."""
    run = Run(f"r{attempt}", attempt, "", PROCESS, PROCESS, BEGAN + 1)
    if code is not None:
        reason = "Completed" if code == 0 else "Error"
        run = Run(
            f"r{attempt}",
            attempt,
            "",
            PROCESS,
            PROCESS,
            BEGAN + 1,
            finished_at=BEGAN + 2,
            exit_code=code,
            reason=reason,
        )
    one.run = run
    one.begun = begun and code is None
    if waits:
        one.backoff = Backoff(waits, BEGAN + 2)


def with_images(found: Pod) -> Pod:
    """Runs without an image get the one that the spec names, so that no definition looks changed."""
    for one in found.containers.values():
        if one.run is not None and not one.run.image:
            one.run = msgspec.structs.replace(one.run, image=found.spec_of(one.name)["image"])
    return found


def ending(found: Pod, grace: float = 30.0, *, deleting: bool = True) -> Pod:
    found.ending = Ending(BEGAN + 3, grace, deleting)
    return found
