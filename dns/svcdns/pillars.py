"""node-local-dns's Corefile template: its variables, and the blocks that ConfigMap kube-dns adds.

In: the template's text and what the variables stand for. Out: the text of a Corefile. The names are node-cache's; a
variable that the installer has filled in already is not there any more. A cluster IP of DNS upstreams that nobody
knows is refused (ValueError) where the template needs it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

UPSTREAM_SERVERS, CLUSTER_DNS = "__PILLAR__UPSTREAM__SERVERS__", "__PILLAR__CLUSTER__DNS__"
LOCAL_DNS, DNS_SERVER = "__PILLAR__LOCAL__DNS__", "__PILLAR__DNS__SERVER__"
DNS_DOMAIN = "__PILLAR__DNS__DOMAIN__"
RESOLV_CONF = "/etc/resolv.conf"
STUB_TTL = 30
_TCP = f"forward . {UPSTREAM_SERVERS} {{ force_tcp }}"


class Pillars(msgspec.Struct, frozen=True):
    """`local` are the addresses listened on, `cluster` those of cluster DNS that are not taken over here.

    `upstream` and `stubs` come from ConfigMap kube-dns: resolvers for what is outside, and for zones of their own.
    """

    local: tuple[str, ...]
    cluster: tuple[str, ...] = ()
    port: int = 53
    upstream: tuple[str, ...] = ()
    stubs: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    unknown: str = "no address of cluster DNS is known"


def variable_of(service: str) -> str:
    """The environment variable with a Service's cluster IP, in every pod of its namespace."""
    return service.replace("-", "_").upper() + "_SERVICE_HOST"


def filled(template: str, pillars: Pillars) -> str:
    """The template with all its variables replaced, and a block for each stub domain."""
    text = template
    if CLUSTER_DNS in text and not pillars.cluster:
        raise ValueError(f"the Corefile has {CLUSTER_DNS}, and {pillars.unknown}")
    if pillars.upstream:
        text = _over_udp(text)
    text = text.replace(UPSTREAM_SERVERS, " ".join(pillars.upstream) or RESOLV_CONF)
    text = text.replace(CLUSTER_DNS, " ".join(pillars.cluster))
    first = pillars.local[0]
    text = text.replace(f"{LOCAL_DNS}:", f"[{first}]:" if ":" in first else f"{first}:")
    text = text.replace(LOCAL_DNS, " ".join(pillars.local)).replace(DNS_SERVER, "").replace(DNS_DOMAIN, "cluster.local")
    return text + "".join(_stub(zone, servers, pillars) for zone, servers in sorted(pillars.stubs.items()))


def _over_udp(text: str) -> str:
    """Whoever names resolvers of their own is asked over UDP, although the template says TCP for resolv.conf."""
    head, found, rest = text.partition(f"forward . {UPSTREAM_SERVERS}")
    body, brace, after = rest.partition("}")
    if found and brace and "".join(f"{found}{body}}}".split()) == "".join(_TCP.split()):
        return f"{head}{found}{after}"
    return text


def _stub(zone: str, servers: Sequence[str], pillars: Pillars) -> str:
    return (
        f"\n{zone}:{pillars.port} {{\n    errors\n    cache {STUB_TTL}\n"
        f"    bind {' '.join(pillars.local)}\n    forward . {' '.join(servers)}\n}}\n"
    )
