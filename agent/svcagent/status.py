"""What a running agent says of itself at /status: one frozen snapshot, as JSON for programs and as text for people.

In: a `Status`, filled by the agent's loop. Out: the body of the answer, the snapshot again from that body, and text.
Times are Unix seconds, 0 for never. Nothing here is measured: the loop knows it all.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from svcagent.health import timestamp
from svcnet.rules import Family

PATH = "/status"


class FamilyState(msgspec.Struct, frozen=True, rename="camel"):
    """One address family.

    synced_since   when the first pass succeeded that no failure has followed; 0 while a pass is failing or none was
    last_change    when rules were last written
    waiting_since  since when a change waits for its pass, 0 if none does
    error          of the last failed pass or audit, "" if there was none since the start; with its moment
    healed         how often somebody else's changes were undone
    chains, rules  that the agent holds in the kernel, by table
    writer         how rules get there: netlink, or iptables-restore ("restore")
    """

    synced_since: float = 0.0
    last_change: float = 0.0
    waiting_since: float = 0.0
    error: str = ""
    error_at: float = 0.0
    healed: int = 0
    chains: Mapping[str, int] = {}
    rules: Mapping[str, int] = {}
    writer: str = ""

    def asked(self, now: float) -> FamilyState:
        """A change waits for its pass."""
        return msgspec.structs.replace(self, waiting_since=self.waiting_since or now)

    def passed(self, now: float, *, changed: bool, chains: Mapping[str, int], rules: Mapping[str, int]) -> FamilyState:
        """A pass succeeded; `changed` if it had anything to write."""
        return msgspec.structs.replace(
            self,
            synced_since=self.synced_since or now,
            last_change=now if changed else self.last_change,
            waiting_since=0.0,
            chains=chains,
            rules=rules,
        )

    def failed(self, now: float, error: str) -> FamilyState:
        """A pass failed, and will be tried again."""
        waiting = self.waiting_since or now
        return msgspec.structs.replace(self, synced_since=0.0, waiting_since=waiting, error=error, error_at=now)

    def healing(self) -> FamilyState:
        """Somebody else's changes were found and are being undone."""
        return msgspec.structs.replace(self, healed=self.healed + 1)


class Status(msgspec.Struct, frozen=True, rename="camel"):
    """The agent at one moment. `listed` are the kinds that the API server has told; `problems` by `namespace/name`."""

    node: str
    version: str
    iptables: str
    now: float
    started: float
    listed: tuple[str, ...] = ()
    services: int = 0
    endpoint_slices: int = 0
    endpoints: int = 0
    families: Mapping[Family, FamilyState] = {}
    problems: Mapping[str, tuple[str, ...]] = {}

    @property
    def well(self) -> bool:
        """Whether every family is synced and nothing has gone wrong since."""
        return bool(self.families) and all(each.synced_since for each in self.families.values())


class ForeignStatusError(ValueError):
    """An answer that is no agent's status."""


def body(status: Status) -> bytes:
    """The answer to GET /status, media type application/json."""
    return msgspec.json.encode(status)


def read(answer: bytes) -> Status:
    """The snapshot of an answer; ForeignStatusError if it is none. Fields that we do not know are left out."""
    try:
        return msgspec.json.decode(answer, type=Status)
    except msgspec.DecodeError as error:
        raise ForeignStatusError(f"the answer is no status of an agent: {error}") from error


def text(status: Status) -> str:
    """Some lines for people."""
    counts = f"{status.services} Services, {status.endpoint_slices} EndpointSlices, {status.endpoints} endpoints"
    missing = [kind for kind in ("Service", "EndpointSlice", "Node") if kind not in status.listed]
    listed = f" (waiting for the API server to list: {', '.join(missing)})" if missing else ""
    runs = _since(status.started, status.now)
    lines = [
        f"svcplane-agent {status.version} on node {status.node}, {status.iptables}, {runs}",
        f"{counts}{listed}",
    ]
    for family, state in sorted(status.families.items()):
        lines += _family(family, state, status.now)
    lines += [f"Service {key}: {'; '.join(problems)}" for key, problems in sorted(status.problems.items())]
    return "\n".join(lines) + "\n"


def _family(family: Family, state: FamilyState, now: float) -> list[str]:
    synced = f"synced {_since(state.synced_since, now)}" if state.synced_since else "NOT SYNCED"
    held = [
        f"{table} {count} chains {state.rules.get(table, 0)} rules" for table, count in sorted(state.chains.items())
    ]
    last = f"last change {_ago(state.last_change, now)}" if state.last_change else "nothing written yet"
    by = f", written by {state.writer}" if state.writer else ""
    lines = [f"{family}: {synced}; {last}{by}", f"  holds {', '.join(held) or 'nothing'}"]
    if state.waiting_since:
        lines.append(f"  a change has been waiting for {duration(now - state.waiting_since)}")
    if state.healed:
        lines.append(f"  somebody else's changes undone: {state.healed}")
    if state.error:
        lines.append(f"  last error, {_ago(state.error_at, now)}: {state.error}")
    return lines


def _since(moment: float, now: float) -> str:
    return f"since {timestamp(float(int(moment)))} ({duration(now - moment)})"


def _ago(moment: float, now: float) -> str:
    return f"{duration(now - moment)} ago"


def duration(seconds: float) -> str:
    """`12s`, `3m4s`, `5h6m`, `7d8h`: the two largest units, as kubectl shows an age."""
    whole = max(0, int(seconds))
    for unit, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size}{unit}" + (f"{rest}{smaller}" if rest else "")
    return f"{whole}s"
