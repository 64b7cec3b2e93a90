"""What the kubelet knows about one pod on its node: the object, the sandbox, every run of every container. Pure.

These structs are the state of the loop and, written to disk, what a restarted kubelet adopts. They belong to the loop:
only it changes them. Times are seconds since the epoch, because they outlive the process.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from svclab.identity import Identity
from svclab.kubelet.backoff import Backoff, duration
from svclab.kubelet.probing import Probe

Body: TypeAlias = dict[str, Any]

MINIMUM_GRACE = 2.0  # seconds between the polite and the rude signal, whatever was asked


class Sandbox(msgspec.Struct, frozen=True):
    """What a pod's containers share. `interface` is the node's end of its cable, "" for pods on the node's network.

    `init` is number 1 where containers share a pid namespace, else the same as `pause`.
    """

    pause: Identity
    init: Identity
    addresses: tuple[str, ...]
    interface: str = ""


class Run(msgspec.Struct, frozen=True):
    """One run of a container: `init` is its first process, `shim` waits for it. Over when `exit_code` is set."""

    id: str
    attempt: int
    image: str
    shim: Identity
    init: Identity
    started_at: float
    environment: dict[str, str] = {}
    directory: str = "/"
    finished_at: float = 0.0
    exit_code: int | None = None
    reason: str = ""
    message: str = ""


class Container(msgspec.Struct):
    """A container of a pod: its newest run, the one before, and what keeps it from running."""

    name: str
    run: Run | None = None
    previous: Run | None = None
    backoff: Backoff = Backoff()
    image_backoff: Backoff = Backoff()
    waiting: tuple[str, str] | None = None  # reason and message of a start that failed
    retry_at: float = 0.0
    begun: bool = False  # its startup probe succeeded, or it has none
    probes: dict[str, Probe] = {}
    # Only while the kubelet lives:
    busy: str = ""  # "starting", "hook"
    stopping: str = ""  # why it is being stopped
    told: bool = False  # SIGTERM was sent
    kill_at: float = 0.0

    @property
    def running(self) -> bool:
        return self.run is not None and self.run.exit_code is None

    @property
    def finished(self) -> Run | None:
        """The newest run if it is over."""
        return self.run if self.run is not None and self.run.exit_code is not None else None


class Ending(msgspec.Struct):
    """Why and since when a pod ends. `reason` and `message` are for its status, if they are not empty."""

    began: float
    grace: float
    deleting: bool = False
    reason: str = ""
    message: str = ""


class Pod(msgspec.Struct):
    """A pod bound to this node. `body` is the newest object from the API server."""

    body: Body
    containers: dict[str, Container]
    started_at: float
    sandbox: Sandbox | None = None
    ending: Ending | None = None
    refresh_at: float = 0.0  # when volumes are made anew
    busy: str = ""  # "preparing", "dissolving"
    retry_at: float = 0.0
    failures: int = 0
    hidden: bool = False  # the API server no longer has it
    dissolved: bool = False  # nothing of it runs, its addresses are free
    reported: Body | None = None  # the status that was sent last

    @property
    def uid(self) -> str:
        return str(self.body["metadata"]["uid"])

    @property
    def namespace(self) -> str:
        return str(self.body["metadata"]["namespace"])

    @property
    def name(self) -> str:
        return str(self.body["metadata"]["name"])

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def folder(self) -> str:
        """Where its files are, below ROOT/pods: the kubelet's name for it."""
        return f"{self.namespace}_{self.name}_{self.uid}"

    @property
    def shown(self) -> str:
        """As the kubelet writes a pod into messages."""
        return f"{self.name}_{self.namespace}({self.uid})"

    @property
    def host_network(self) -> bool:
        return bool(self.body["spec"].get("hostNetwork"))

    def spec_of(self, name: str) -> Body:
        found: Body = next(one for one in specs(self.body) if one["name"] == name)
        return found


def fresh(body: Body, now: float) -> Pod:
    """A pod that this node was given just now."""
    return Pod(body, {spec["name"]: Container(spec["name"], probes={}) for spec in specs(body)}, now)


def specs(body: Body) -> list[Body]:
    """Init containers, then the others, in the order of the spec."""
    return [*inits(body), *mains(body)]


def inits(body: Body) -> list[Body]:
    return body["spec"].get("initContainers") or []


def mains(body: Body) -> list[Body]:
    found: list[Body] = body["spec"]["containers"]
    return found


def is_sidecar(spec: Body, body: Body) -> bool:
    """An init container that stays (KEP-753)."""
    return spec.get("restartPolicy") == "Always" and spec in inits(body)


def restarts(spec: Body, body: Body, exit_code: int) -> bool:
    """Is a container that ended so started again?"""
    policy = spec.get("restartPolicy") or body["spec"].get("restartPolicy") or "Always"
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def initialized(pod: Pod) -> bool:
    """Has a main container run? Then init containers are not asked any more."""
    return any(pod.containers[spec["name"]].run is not None for spec in mains(pod.body))


def grace_of(body: Body) -> float:
    """Seconds between asking a pod to end and making it."""
    asked = body["metadata"].get("deletionGracePeriodSeconds")
    if asked is None:
        asked = body["spec"].get("terminationGracePeriodSeconds")
    return max(30.0 if asked is None else float(asked), 0.0)


def crash_loop(pod: Pod, container: Container, now: float) -> tuple[float, str] | None:
    """Until when a container that ended waits for its next run, and the kubelet's sentence; None if it need not."""
    over = container.finished
    if (
        over is None
        or pod.ending is not None
        or not restarts(pod.spec_of(container.name), pod.body, over.exit_code or 0)
    ):
        return None
    until = container.backoff.ends(over.finished_at)
    if now >= until:
        return None
    wait = duration(container.backoff.seconds)
    return until, f"back-off {wait} restarting failed container={container.name} pod={pod.shown}"
