"""What a server is told to do, whole and checked: the value behind a Corefile and behind the flags.

In: nothing; `plugins` and `options` make these. Out: frozen values without defaults of their own meaning elsewhere:
what CoreDNS does when nothing is said stands here, once. Equal values mean equal behaviour, so a reload keeps what did
not change: the watch of the cluster, the connections to upstreams, the cache's content. Times are in seconds, names in
lower case.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Literal, TypeAlias

import msgspec

from svcdns.answer import Zones
from svcdns.records import Name

ROOT: Name = b"\0"
DNS_PORT, TLS_PORT = 53, 853

Policy: TypeAlias = Literal["random", "round_robin", "sequential"]
RewriteKind: TypeAlias = Literal["exact", "suffix"]
Access: TypeAlias = Literal["allow", "block", "filter", "drop"]
Network: TypeAlias = IPv4Network | IPv6Network
EVERYWHERE: tuple[Network, ...] = (ip_network("0.0.0.0/0"), ip_network("::/0"))


class Endpoint(msgspec.Struct, frozen=True):
    """An IP address in canonical text, and a port; 0 lets the kernel choose."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


class Certificates(msgspec.Struct, frozen=True):
    """Paths of PEM files; "" where none is given."""

    certificate: str = ""
    key: str = ""
    authority: str = ""


class Source(msgspec.Struct, frozen=True):
    """Where the API server is, what is watched there, and what is served of it.

    Without a kubeconfig and a server it is the one whose service account we hold. `labels` and `namespace_labels` are
    selectors as in the API's query. `node`: only the Pods of this node are watched, and nothing else.
    """

    kubeconfig: str
    server: str
    zones: Zones
    endpoint_pod_names: bool = False
    context: str = ""
    certificates: Certificates = Certificates()
    labels: str = ""
    namespace_labels: str = ""
    namespaces: frozenset[str] = frozenset()
    endpoints: bool = True
    ignore_empty: bool = False
    startup_timeout: float = 5.0
    node: str = ""


class Capacity(msgspec.Struct, frozen=True):
    """One of the cache's two tables: how many replies, and between which bounds their TTL is brought."""

    entries: int
    longest: int
    shortest: int = 5

    def bounded(self, ttl: int) -> int:
        return min(max(ttl, self.shortest), self.longest)


class Cache(msgspec.Struct, frozen=True):
    """`prefetch`: from so many questions on a reply is fetched anew before it expires; 0 is never.

    `stale`: how long an expired reply is still given out when no fresh one can be had; 0 is never. `verify` asks
    upstream first, for at most `verify_seconds` if that is not 0.
    """

    zones: tuple[Name, ...] = (ROOT,)
    success: Capacity = Capacity(9984, 3600)
    denial: Capacity = Capacity(9984, 1800)
    prefetch: int = 0
    prefetch_seconds: float = 60.0
    prefetch_percent: int = 10
    stale: float = 0.0
    stale_ttl: int = 0
    verify: bool = False
    verify_seconds: float = 0.0
    servfail: float = 5.0
    not_success: tuple[Name, ...] = ()
    not_denial: tuple[Name, ...] = ()
    keep_ttl: bool = False


class Upstream(msgspec.Struct, frozen=True):
    """Another resolver. `server_name`: the name that its certificate must bear, "" for its address."""

    endpoint: Endpoint
    tls: bool = False
    server_name: str = ""

    def __str__(self) -> str:
        return f"tls://{self.endpoint}" if self.tls else str(self.endpoint)


class HostName(msgspec.Struct, frozen=True):
    """An upstream whose addresses are found when the settings are taken."""

    host: str
    port: int
    tls: bool = False
    server_name: str = ""


class HealthCheck(msgspec.Struct, frozen=True):
    seconds: float = 0.5
    recursion: bool = True
    name: Name = ROOT


class Forward(msgspec.Struct, frozen=True):
    """`to` may hold paths of resolv.conf files. `max_concurrent` 0 is as many as we can; `max_fails` 0 never probes.

    `resolvers` say the addresses of host names, by default the system's.
    """

    to: tuple[Upstream | HostName | str, ...]
    origin: Name = ROOT
    excepted: tuple[Name, ...] = ()
    policy: Policy = "random"
    max_fails: int = 2
    check: HealthCheck = HealthCheck()
    expire: float = 10.0
    max_concurrent: int = 0
    max_attempts: int | None = None
    read_timeout: float = 2.0
    force_tcp: bool = False
    prefer_udp: bool = False
    fail_fast: bool = False
    resolvers: tuple[Endpoint, ...] = ()
    certificates: Certificates = Certificates()


class Hosts(msgspec.Struct, frozen=True):
    """`inline` are lines as in the file. `fallthrough` is None where a name that is not known is SERVFAIL.

    `unsupported`: what may fall through does so for every type but A and AAAA, whether the name is known or not.
    """

    path: str
    zones: tuple[Name, ...]
    inline: tuple[str, ...] = ()
    ttl: int = 3600
    reverse: bool = True
    reload: float = 5.0
    fallthrough: tuple[Name, ...] | None = None
    unsupported: bool = False


class Rewrite(msgspec.Struct, frozen=True):
    """`name exact` and `name suffix`. `answers`: names in the reply are turned back too. `stop`: no rule after it.

    `apex`: a suffix is itself one of the names that end in it; not so if it is written with a dot in front.
    """

    kind: RewriteKind
    old: Name
    new: Name
    answers: bool
    stop: bool = True
    apex: bool = True


class Autopath(msgspec.Struct, frozen=True):
    """Search paths gone along for clients whose questions are below `zones`: that of the resolv.conf `path`, or, if it
    is "", that of the client's pod. `pods`: where pods are known from, if not from the server block's `kubernetes`.
    """

    zones: tuple[Name, ...]
    path: str = ""
    pods: Source | None = None


class Transfer(msgspec.Struct, frozen=True):
    """Who may have which zones whole."""

    zones: tuple[Name, ...]
    to: tuple[IPv4Network | IPv6Network, ...]


class AccessPolicy(msgspec.Struct, frozen=True):
    """What becomes of questions of these types, of all if there are none, from these networks."""

    access: Access
    types: frozenset[int]
    networks: tuple[Network, ...]


class AccessRule(msgspec.Struct, frozen=True):
    """For questions below `zones` the first policy that fits decides; where none does, the next rule is looked at."""

    zones: tuple[Name, ...]
    policies: tuple[AccessPolicy, ...]


class Consolidated(msgspec.Struct, frozen=True):
    """Errors that match `pattern` are told as a number once in `seconds`, at `level` ("error", "warning", ...)."""

    seconds: float
    pattern: str
    level: str = "error"
    show_first: bool = False


class Errors(msgspec.Struct, frozen=True):
    consolidated: tuple[Consolidated, ...] = ()


CLASSES = ("success", "denial", "error", "all")
_ASKED = "{type} {class} {name} {proto} {size} {>do} {>bufsize}"
COMMON = f'{{remote}}:{{port}} - {{>id}} "{_ASKED}" {{rcode}} {{>rflags}} {{rsize}} {{duration}}'
COMBINED = f'{COMMON} "{{>opcode}}"'


class LogRule(msgspec.Struct, frozen=True):
    """Queries below `zone` whose reply is of one of `classes` are told in `format`; `report` knows its labels."""

    zone: Name = ROOT
    classes: frozenset[str] = frozenset({"all"})
    format: str = COMMON


class Serving(msgspec.Struct, frozen=True):
    """One zone of a server block on its port. `text` is the zone as metrics name it: `cluster.local.`, `.`."""

    zone: Name
    text: str
    port: int


class ServerBlock(msgspec.Struct, frozen=True):
    """`bind` holds addresses and interface names; empty is every address. `plugins`: the directives' names, in order.

    `listen`, if not empty, says where in place of `bind` and the ports of `serving`.
    """

    serving: tuple[Serving, ...]
    plugins: tuple[str, ...] = ()
    bind: tuple[str, ...] = ()
    not_bind: tuple[str, ...] = ()
    kubernetes: Source | None = None
    cache: Cache | None = None
    forwards: tuple[Forward, ...] = ()
    hosts: Hosts | None = None
    rewrites: tuple[Rewrite, ...] = ()
    errors: Errors | None = None
    log: tuple[LogRule, ...] = ()
    loadbalance: bool = False
    loop: bool = False
    health: str = ""
    lameduck: float = 0.0
    ready: str = ""
    prometheus: str = ""
    listen: tuple[Endpoint, ...] = ()
    transfers: tuple[Transfer, ...] = ()
    autopath: Autopath | None = None
    access: tuple[AccessRule, ...] = ()


class Reload(msgspec.Struct, frozen=True):
    seconds: float = 30.0
    jitter: float = 15.0


class Settings(msgspec.Struct, frozen=True):
    blocks: tuple[ServerBlock, ...]
    reload: Reload | None = None
