"""Whether this node's service rules are up to date: what /healthz and /livez say.

In: the moments at which changes were queued and written, the Node object. Out: status and JSON body as kube-proxy 1.36
gives them. A family is unhealthy once a change has waited for two sync periods. Unlike kube-proxy's, it is unhealthy
too if the first pass never succeeded. Times are Unix seconds.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from svckube.objects import Node
from svcnet.rules import Family

AUTOSCALER_TAINT = "ToBeDeletedByClusterAutoscaler"
NEVER = "0001-01-01T00:00:00Z"


class FamilyStatus(msgspec.Struct, frozen=True, rename="camel"):
    last_updated: str
    healthy: bool


class Report(msgspec.Struct, frozen=True, rename="camel"):
    """The body of both endpoints; /livez has no `nodeEligible`, and `status` is left out while it is empty."""

    last_updated: str
    current_time: str
    node_eligible: bool | msgspec.UnsetType
    healthy: bool
    status: dict[Family, FamilyStatus] | msgspec.UnsetType


def timestamp(seconds: float) -> str:
    """RFC 3339 with as many digits as needed, in UTC."""
    if not seconds:
        return NEVER
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
    return text.rstrip("0").rstrip(".") + "Z"


def eligible(node: Node | None) -> bool:
    """Whether load balancers should send traffic here: the Node exists, stays, and is not being scaled away."""
    if node is None or node.metadata.deletion_timestamp:
        return False
    return all(taint.key != AUTOSCALER_TAINT for taint in node.spec.taints or ())


class Health:
    """The state behind /healthz and /livez. Times come from the caller."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._updated: dict[Family, float] = {}
        self._queued: dict[Family, float] = {}
        self._node: Node | None = None
        self.gives_way = False
        """Another program writes the rules, so we write none. A restart would not help: /livez does not count it."""

    def queued(self, family: Family, now: float) -> None:
        """A change waits to be written."""
        self._queued.setdefault(family, now)

    def updated(self, family: Family, now: float) -> None:
        """Everything that was queued has been written."""
        self._updated[family] = now
        self._queued.pop(family, None)

    def node(self, node: Node | None) -> None:
        self._node = node

    def _families(self, now: float) -> dict[Family, FamilyStatus]:
        known = sorted(self._updated.keys() | self._queued.keys())
        return {
            family: FamilyStatus(
                timestamp(self._updated.get(family, 0.0)),
                self.gives_way or now - self._queued.get(family, now) < self._patience,
            )
            for family in known
        }

    def livez(self, now: float) -> tuple[int, bytes]:
        """(HTTP status, JSON body): whether this program does its work."""
        return self._report(now, msgspec.UNSET)

    def healthz(self, now: float) -> tuple[int, bytes]:
        """As `livez`, and not well where the node should get no traffic."""
        return self._report(now, eligible(self._node), writing=not self.gives_way)

    def _report(
        self, now: float, node_eligible: bool | msgspec.UnsetType, *, writing: bool = True
    ) -> tuple[int, bytes]:
        families = self._families(now)
        healthy = writing and all(each.healthy for each in families.values())
        well = healthy and node_eligible is not False
        last = now if well else max(self._updated.values(), default=0.0)
        body = Report(timestamp(last), timestamp(now), node_eligible, healthy, families or msgspec.UNSET)
        return 200 if well else 503, msgspec.json.encode(body)
