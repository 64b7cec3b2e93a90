"""Random objects on one real API server, random questions to the real CoreDNS and to ours: the same replies.

In: a control plane, a session (how both are configured), a seed. Out: a `Tally`, or what was said differently. After
each round of changes both have to show a sentinel of each kind before they are asked anything. Every question is put
to ours twice more, so that kept replies are compared as well.

Compared: silence, flags and rcode, the question, the sections as sets of records (serials apart), the OPT record; of
a reply that was cut, how many records each section has. `ACCEPTED` holds every difference that we want, with the
sentence of dns/README.md that it stands for, and no others.
"""

from __future__ import annotations

import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from peers.control_plane import ApiError, ControlPlane
from peers.core_dns import CoreDNS
from peers.our_dns import svcplane_dns
from support.dns_objects import Change, Manifest, Objects
from support.dns_questions import ZONE, Asked, Questions
from support.messages import read
from support.resolvers import Address, Upstream, over_udp, question
from support.waiting import eventually
from svcdns.records import TYPE_NUMBERS, text_of

COREFILE = """\
.:{{$PORT}} {{
    ready 127.0.0.1:{{$READY_PORT}}
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {{$KUBECONFIG}}
        {options}
    }}
    forward . {upstream}
}}
"""
SILENCE_SECONDS = 0.2  # how long nothing has to come where we expect nothing
PATIENCE_SECONDS = 3.0
QUESTIONS_A_ROUND = 40
AA, TC = 0x0400, 0x0200
OPCODE = 0x78  # in the first octet of the flags
AA_AT = 5  # among the flags as Heard has them
SERIAL = re.compile(r"( SOA \S+ \S+) \d+")
SENTINELS = "sentinels"
# Without controllers no namespace has the service account that a pod is given.
CONTROL_PLANE_FLAGS = ("--disable-admission-plugins=ServiceAccount",)


class Session(msgspec.Struct, frozen=True):
    """What both are told: lines of the plugin `kubernetes`, and our flags for the same."""

    id: str
    options: tuple[str, ...]
    flags: tuple[str, ...]


SESSIONS = (
    Session("insecure", ("pods insecure",), ("--pods", "insecure")),
    Session(
        "verified",
        ("pods verified", "endpoint_pod_names", "ttl 30"),
        ("--pods", "verified", "--endpoint-pod-names", "--ttl", "30"),
    ),
    Session(
        "disabled",
        ("fallthrough in-addr.arpa ip6.arpa", "ttl 0"),
        ("--fallthrough", "in-addr.arpa", "--fallthrough", "ip6.arpa", "--ttl", "0"),
    ),
)


class Heard(msgspec.Struct, frozen=True):
    """A reply, comparable. `rcode` with its upper bits; -1 for silence. `opt`: size, flags, options."""

    rcode: int
    flags: str = ""
    question: bytes = b""
    sections: tuple[tuple[str, ...], ...] = ((), (), ())
    opt: tuple[object, ...] = ()

    @property
    def is_nodata(self) -> bool:
        return self.rcode == 0 and not self.sections[0] and len(self.sections[1]) == 1

    def without_rcode(self) -> Heard:
        return msgspec.structs.replace(self, rcode=0)

    def without_sections(self) -> Heard:
        return msgspec.structs.replace(self, sections=())


SILENCE = Heard(-1)


def heard(reply: bytes) -> Heard:
    if not reply:
        return SILENCE
    message = read(reply)
    sections = tuple(tuple(map(_without_serial, lines)) for lines in message.sections)
    if message.flags & TC:
        sections = tuple((str(len(lines)),) for lines in sections)
    opt = tuple((size, ttl & 0xFFFFFF, options) for size, ttl, options in message.opts)
    rcode = message.flags & 0xF | (message.opts[0][1] >> 24 << 4 if message.opts else 0)
    return Heard(rcode, f"{message.flags >> 4:012b}", message.question, sections, opt)


def _without_serial(line: str) -> str:
    return SERIAL.sub(r"\1 serial", line)


def exchanged(server: Address, asked: Asked) -> bytes:
    """The reply; nothing where none comes."""
    silent = len(asked.packet) < 12 or bool(asked.packet[2] & 0x80)
    patience = SILENCE_SECONDS if silent else PATIENCE_SECONDS
    try:
        if not asked.tcp:
            return over_udp(server, asked.packet, patience)
        with socket.create_connection(server, timeout=patience) as client:
            client.sendall(len(asked.packet).to_bytes(2) + asked.packet)
            stream = client.makefile("rb")
            return stream.read(int.from_bytes(stream.read(2)))
    except (TimeoutError, ConnectionError):
        return b""


# What we want to be different


class Accepted(msgspec.Struct, frozen=True):
    """`because` as dns/README.md has it. `applies` may ask CoreDNS whether a name is there."""

    because: str
    applies: Callable[[Asked, Heard, Heard, Callable[[str], bool]], bool]


REVERSE = re.compile(r"(?:\d+\.){4}in-addr\.arpa\.|(?:[0-9a-f]\.){32}ip6\.arpa\.")
EMPTY = re.compile(r"(?:|svc\.|pod\.|[^.]+\.svc\.|[^.]+\.pod\.)cluster\.local\.|in-addr\.arpa\.|ip6\.arpa\.")
PROTOCOL = re.compile(r"_(?:tcp|udp|sctp)\.[^.]+\.[^.]+\.svc\.cluster\.local\.")
NS, PTR, TXT = (TYPE_NUMBERS[name] for name in ("NS", "PTR", "TXT"))


def _exists(asked: Asked, ours: Heard, theirs: Heard, there: Callable[[str], bool]) -> bool:
    """NODATA where CoreDNS says NXDOMAIN, or asks the upstream instead, which says so."""
    fell_through = theirs.flags[AA_AT : AA_AT + 1] == "0"
    if not ours.is_nodata or theirs.rcode != 3 or (ours.without_rcode() != theirs.without_rcode() and not fell_through):
        return False
    name, kind = asked.name.lower(), asked.type
    return (
        (kind == TXT and bool(EMPTY.fullmatch(name)))
        or (kind != PTR and bool(REVERSE.fullmatch(name)))
        or (kind != TXT and name == "dns-version.cluster.local.")
        or (kind in (TXT, PTR) and name == "ns.dns.cluster.local.")
        or name == "dns.cluster.local."
        or bool(PROTOCOL.fullmatch(name))
    )


def _case(asked: Asked, ours: Heard, theirs: Heard, there: Callable[[str], bool]) -> bool:
    name = asked.name.lower()
    if asked.name == name or ours.rcode:
        return False
    at_apex = asked.type == NS and name in ("cluster.local.", "in-addr.arpa.", "ip6.arpa.") and theirs.is_nodata
    return at_apex or (name == "ns.dns.cluster.local." and theirs.rcode == 3)


def _reverse_ns(asked: Asked, ours: Heard, theirs: Heard, there: Callable[[str], bool]) -> bool:
    at_apex = asked.type == NS and asked.name in ("in-addr.arpa.", "ip6.arpa.")
    return at_apex and (ours.rcode, theirs.rcode) == (0, 0) and len(ours.sections[0]) == len(theirs.sections[0])


def _class(asked: Asked, ours: Heard, theirs: Heard, there: Callable[[str], bool]) -> bool:
    klass = int.from_bytes(ours.question[-2:])
    return ours.rcode == 5 and klass != 1 and theirs.rcode != 5


def _bare_port(asked: Asked, ours: Heard, theirs: Heard, there: Callable[[str], bool]) -> bool:
    return asked.name.startswith("_.") and ours.rcode == 3 and theirs.rcode == 0


def _cut(asked: Asked, ours: Heard, theirs: Heard, there: Callable[[str], bool]) -> bool:
    return not asked.wellformed and ours.rcode == 1 and theirs.rcode != -1


def _gone(asked: Asked, ours: Heard, theirs: Heard, there: Callable[[str], bool]) -> bool:
    """PTR records of CoreDNS that lead to names which it does not know itself."""
    if asked.type != PTR or theirs.rcode or not set(ours.sections[0]) < set(theirs.sections[0]):
        return False
    more = set(theirs.sections[0]) - set(ours.sections[0])
    return ours.rcode in (0, 3) and not any(there(line.split()[-1]) for line in more)


def _own(asked: Asked, ours: Heard, theirs: Heard, there: Callable[[str], bool]) -> bool:
    """Addresses of the server itself: ours are among CoreDNS's."""
    name, here = asked.name.lower(), (ours.sections, theirs.sections)
    if name not in ("ns.dns.cluster.local.", "cluster.local.") or (ours.rcode, theirs.rcode) != (0, 0):
        return False
    return ours.without_sections() == theirs.without_sections() and all(
        set(a) <= set(b) for a, b in zip(*here, strict=True)
    )


def _below_reverse(asked: Asked, ours: Heard, theirs: Heard, there: Callable[[str], bool]) -> bool:
    """Names of services and the rest, below a zone of addresses."""
    name = asked.name.lower()
    below = re.search(r"(?:^|\.)(?:svc|pod|dns|dns-version)\.(?:in-addr|ip6)\.arpa\.$", name)
    return below is not None and (ours.rcode, theirs.rcode) == (3, 0)


def _cut_elsewhere(asked: Asked, ours: Heard, theirs: Heard, there: Callable[[str], bool]) -> bool:
    """Both cut, at about as many records: ours come in changing order, and addresses differ in size."""
    if ours.without_sections() != theirs.without_sections() or not int(ours.flags or "0", 2) << 4 & TC:
        return False
    counts = [sum(int(count) for (count,) in each.sections) for each in (ours, theirs)]
    return abs(counts[0] - counts[1]) <= 3


def _unread(asked: Asked, ours: Heard, theirs: Heard, there: Callable[[str], bool]) -> bool:
    """Only what the additional record holds can be what CoreDNS does not like."""
    return not asked.wellformed and theirs.rcode == 1 and ours.rcode in (0, 3) and asked.packet[11] > 0


def _surplus(asked: Asked, ours: Heard, theirs: Heard, there: Callable[[str], bool]) -> bool:
    """PTR of an address, asked for by a name below the address's own."""
    below = re.fullmatch(r"(?:[^.]+\.){1,3}((?:[0-9a-f]\.){32}ip6\.arpa\.)", asked.name.lower())
    return below is not None and asked.type == PTR and (ours.rcode, theirs.rcode) == (3, 0)


ACCEPTED = (
    Accepted("A name that exists is never NXDOMAIN.", _exists),
    Accepted("Case.", _case),
    Accepted("NS of a reverse zone", _reverse_ns),
    Accepted("Classes other than IN", _class),
    Accepted("`_` is no port.", _bare_port),
    Accepted("A slice whose Service is gone", _gone),
    Accepted("`ns.dns` and NS name the addresses", _own),
    Accepted("Names of the cluster below a reverse zone", _below_reverse),
    Accepted("A name below that of an IPv6 address", _surplus),
    Accepted("A reply that is cut", _cut_elsewhere),
    Accepted("What EDNS options and other additional records hold", _unread),
    Accepted("A message that is cut short is FORMERR", _cut),
)


def as_understood(asked: Asked, ours: Heard) -> Asked:
    """With the name and the type that came back, where an octet was broken on the way there."""
    if asked.wellformed or not ours.question:
        return asked
    name, kind = text_of(ours.question[:-4]), int.from_bytes(ours.question[-4:-2])
    return msgspec.structs.replace(asked, name=name, type=kind)


class DisagreementError(AssertionError):
    """The two said different things, and nothing in `ACCEPTED` says why."""


class Tally(msgspec.Struct):
    """`accepted` counts replies that differ, by reason."""

    questions: int = 0
    changes: int = 0
    refused: int = 0
    rcodes: Counter[int] = msgspec.field(default_factory=Counter)
    accepted: Counter[str] = msgspec.field(default_factory=Counter)


class Tolerant(Upstream):
    """The resolver outside. To a NOTIFY it answers as to a query, to what it cannot read not at all."""

    def _replies(self, packet: bytes, proto: str) -> list[bytes]:
        try:
            replies = super()._replies(packet[:2] + bytes([packet[2] & ~OPCODE]) + packet[3:], proto)
        except Exception:
            return []
        # dnslib's flags are the question's. Both servers pass on what an upstream sets.
        opcode = packet[2] & OPCODE
        return [reply[:2] + bytes([reply[2] & 0x81 | opcode, reply[3] & 0x8F]) + reply[4:] for reply in replies]


class Players:
    """Both servers over one API server."""

    def __init__(self, control_plane: ControlPlane, ours: Address, theirs: Address) -> None:
        self._control_plane = control_plane
        self._ours, self._theirs = ours, theirs
        self._round = 0
        self.refused: list[str] = []

    def begin(self) -> None:
        """The namespace and the service whose changes tell that both have seen what came before."""
        self._put(Change("/api/v1/namespaces", SENTINELS, _object("v1", "Namespace", SENTINELS)))
        headless = _object("v1", "Service", "slices") | {"spec": {"clusterIP": "None"}}
        self._put(Change(f"/api/v1/namespaces/{SENTINELS}/services", "slices", headless))

    def play(self, changes: Sequence[Change]) -> None:
        """Makes the changes; returns when both servers have seen them."""
        for change in changes:
            self._put(change)
        self._round += 1
        mark = f"v{self._round}"
        alias = _object("v1", "Service", "services")
        alias["spec"] = {"type": "ExternalName", "externalName": f"{mark}.example.org"}
        self._put(Change(f"/api/v1/namespaces/{SENTINELS}/services", "services", alias))
        one = _object("discovery.k8s.io/v1", "EndpointSlice", "slices")
        one["metadata"]["labels"] = {"kubernetes.io/service-name": "slices"}
        one |= {"addressType": "IPv4", "endpoints": [{"addresses": ["10.244.255.1"], "hostname": mark}]}
        self._put(Change(f"/apis/discovery.k8s.io/v1/namespaces/{SENTINELS}/endpointslices", "slices", one))
        self._put(Change("/api/v1/namespaces", mark, _object("v1", "Namespace", mark)))
        for server in (self._ours, self._theirs):
            eventually(lambda server=server: self._shows(server, mark), f"{server} shows {mark}", seconds=20)
        self._put(Change("/api/v1/namespaces", mark, None))

    def _shows(self, server: Address, mark: str) -> bool:
        alias = over_udp(server, question(f"services.{SENTINELS}.svc.{ZONE}.", "CNAME"))
        slices = over_udp(server, question(f"{mark}.slices.{SENTINELS}.svc.{ZONE}.", "A"))
        namespace = over_udp(server, question(f"{mark}.svc.{ZONE}.", "A"))
        return mark.encode() in alias[40:] and slices[7] == 1 and namespace[3] & 0xF == 0

    def _put(self, change: Change) -> None:
        path = f"{change.path}/{change.name}"
        try:
            self._delete(path)
            if change.manifest is not None:
                self._control_plane.request("POST", change.path, change.manifest)
                if change.manifest.get("status"):
                    self._control_plane.request("PUT", f"{path}/status", change.manifest)
        except ApiError as error:
            self.refused.append(f"{change}: {error}")

    def _delete(self, path: str) -> None:
        """Deletes at once: nobody is there who would first empty a namespace, or end a pod."""
        with suppress_missing():
            if path.startswith("/api/v1/namespaces") and path.count("/") == 4:
                found = self._control_plane.request("DELETE", path)
                found["spec"] = {"finalizers": []}
                self._control_plane.request("PUT", f"{path}/finalize", found)
            else:
                self._control_plane.request("DELETE", f"{path}?gracePeriodSeconds=0")

    def put_to_both(self, asked: Asked) -> tuple[Heard, Heard, str]:
        """What ours and CoreDNS say, and why a difference is accepted: "" where there is none, "?" for no reason."""
        theirs = heard(exchanged(self._theirs, asked))
        for _ in range(3 if theirs.rcode >= 0 else 1):
            ours = heard(exchanged(self._ours, asked))
            if ours != theirs:
                meant = as_understood(asked, ours)
                reasons = [one.because for one in ACCEPTED if one.applies(meant, ours, theirs, self._there)]
                return ours, theirs, reasons[0] if reasons else "?"
        return ours, theirs, ""

    def _there(self, name: str) -> bool:
        return heard(over_udp(self._theirs, question(name))).rcode == 0


@contextmanager
def suppress_missing() -> Iterator[None]:
    try:
        yield
    except ApiError as error:
        if error.status != 404:
            raise


def _object(version: str, kind: str, name: str) -> Manifest:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}}


@contextmanager
def players(binaries: Path, folder: Path, control_plane: ControlPlane, session: Session) -> Iterator[Players]:
    """Both servers, as the session has them, until the block ends."""
    folder = folder / session.id
    folder.mkdir()
    with ExitStack() as stack:
        upstream = stack.enter_context(Tolerant())
        where = f"{upstream.address[0]}:{upstream.address[1]}"
        kubeconfig = control_plane.kubeconfig()
        corefile = COREFILE.format(upstream=where, options="\n        ".join(session.options))
        coredns = stack.enter_context(CoreDNS(binaries, folder, kubeconfig=kubeconfig, corefile=corefile))
        flags = (*session.flags, "--forward", where)
        ours = stack.enter_context(svcplane_dns(folder / "ours", kubeconfig, *flags))
        yield Players(control_plane, ours.address, ("127.0.0.1", coredns.port))


def run(
    found: Players,
    seed: int,
    questions: int,
    report: Callable[[str], None] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Tally:
    """Asks so many questions. A difference raises DisagreementError; with `report` it is told there, and it goes on."""
    objects, source, tally = Objects(seed), Questions(seed), Tally()
    found.begin()
    changes = objects.filling()
    began = time.monotonic()
    while tally.questions < questions:
        found.play(changes)
        tally.changes += len(changes)
        for _ in range(min(QUESTIONS_A_ROUND, questions - tally.questions)):
            asked = source.question()
            ours, theirs, reason = found.put_to_both(asked)
            tally.questions += 1
            tally.rcodes[theirs.rcode] += 1
            if reason == "?":
                shown = f"seed {seed}, question {tally.questions}: {asked}\nours    {ours}\nCoreDNS {theirs}"
                if report is None:
                    raise DisagreementError(shown)
                report(shown)
            elif reason:
                tally.accepted[reason] += 1
        changes = [objects.change() for _ in range(1 + tally.questions // QUESTIONS_A_ROUND % 7)]
        if tally.questions % 600 == 0:
            say(f"{tally.questions} questions, {time.monotonic() - began:.0f} s")
    tally.refused = len(found.refused)
    return tally
