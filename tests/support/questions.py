"""One table of DNS questions, for several judges: the pure `answer`, our server's sockets, a real CoreDNS.

In: nothing. Out: `cluster(local)`, the objects of a small cluster as manifests that a real API server takes; `ROWS`,
what has to be answered about it; `said` and `said_in`, which bring a `Reply` or a packet into the form the rows are
written in.

A row reads like a zone file. A name without a last dot is under cluster.local; `@` is the question's name; the TTL is
5 where none is given. `NODATA` and `NX` stand for the SOA of the zone and nothing else. Packets are read with dnslib,
which does not share code with our writer. A serial is written as 0, since every server has its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from dnslib import CLASS, QTYPE, RCODE, DNSRecord

from svcdns.answer import Reply
from svcdns.records import RCODE_NAMES, line_of
from svckube.objects import EndpointSlice, Namespace, Pod, Service

KINDS = {"Namespace": Namespace, "Service": Service, "EndpointSlice": EndpointSlice, "Pod": Pod}
ZONES = ("cluster.local", "in-addr.arpa", "ip6.arpa")
TTL = 5
LOCAL = "192.0.2.53"
"""The address of the server itself, where nobody has a better one."""

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Said:
    """A reply, comparable: the sections' lines sorted, without OPT."""

    rcode: str
    aa: bool
    answer: tuple[str, ...] = ()
    authority: tuple[str, ...] = ()
    additional: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """`coredns`: the rcode of CoreDNS where it differs from us for the reason that dns/README.md gives."""

    id: str
    name: str
    type: str
    said: Said
    coredns: str = ""


def _namespace(name: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _port(text: str) -> Manifest:
    """`http:80/TCP`, or without a name `80/TCP`."""
    name, _, rest = text.rpartition(":")
    number, protocol = rest.split("/")
    return {"port": int(number), "protocol": protocol, **({"name": name} if name else {})}


def _service(key: str, *cluster_ips: str, ports: Sequence[str] = (), **spec: object) -> Manifest:
    namespace, name = key.split("/")
    families = [f"IPv{ip_address(ip).version}" for ip in cluster_ips if ip != "None"]
    body = {
        **({"clusterIP": cluster_ips[0], "clusterIPs": list(cluster_ips)} if cluster_ips else {}),
        **({"ipFamilies": families} if families else {}),
        **({"ipFamilyPolicy": "RequireDualStack"} if len(families) == 2 else {}),
        **({"ports": [_port(port) for port in ports]} if ports else {}),
        **spec,
    }
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace}, "spec": body}


def _alias(key: str, target: str) -> Manifest:
    return _service(key, type="ExternalName", externalName=target)


def _slice(key: str, name: str, endpoints: Sequence[str], ports: Sequence[str] = (), family: str = "IPv4") -> Manifest:
    """Endpoints are written `address`, `hostname=address`, and with a `!` in front where they are not ready."""
    namespace, service = key.split("/")
    written = []
    for text in endpoints:
        hostname, _, address = text.removeprefix("!").rpartition("=")
        endpoint: Manifest = {"addresses": [address], "conditions": {"ready": not text.startswith("!")}}
        written.append(endpoint | ({"hostname": hostname} if hostname else {}))
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": namespace, "labels": {"kubernetes.io/service-name": service}},
        "addressType": family,
        "endpoints": written,
        "ports": [_port(port) for port in ports],
    }


def cluster(local: str = LOCAL) -> list[Manifest]:
    """The cluster that ROWS speak of, in an order in which it can be created. `local` is where the DNS server runs."""
    return [
        *(_namespace(name) for name in ("prod", "dev", "void")),
        _service("kube-system/kube-dns", "10.96.0.10", ports=["dns:53/UDP", "dns-tcp:53/TCP"]),
        _slice("kube-system/kube-dns", "kube-dns-1", [local], ["dns:53/UDP", "dns-tcp:53/TCP"]),
        _service("prod/web", "10.96.1.10", ports=["http:80/TCP", "metrics:9090/TCP"]),
        _slice("prod/web", "web-1", ["10.244.1.5", "!10.244.2.5"], ["http:8080/TCP", "metrics:9091/TCP"]),
        _service("dev/web", "10.96.2.10", ports=["http:80/TCP"]),
        _service("prod/single", "10.96.1.11", ports=["8080/TCP"]),
        _service("prod/dual", "10.96.1.12", "fd00:10:96::12", ports=["dns:53/UDP"]),
        _service("prod/six", "fd00:10:96::6", ports=["http:80/TCP"]),
        _service("prod/open", "10.96.1.13", ports=["http:80/TCP"], type="NodePort"),
        _service("prod/front", "10.96.1.14", ports=["http:80/TCP"], type="LoadBalancer", externalIPs=["198.51.100.7"]),
        _service("prod/manual", "10.96.1.15", ports=["http:80/TCP"]),
        _slice("prod/manual", "by-hand", ["192.168.123.234"], ["http:80/TCP"]),
        _service("prod/db", "None", ports=["pg:5432/TCP"]),
        _slice("prod/db", "db-1", ["db-0=10.244.1.20", "db-1=10.244.2.20", "!db-2=10.244.3.20"], ["pg:15432/TCP"]),
        _slice("prod/db", "db-2", ["db-0=10.244.1.20", "10.244.4.20"], ["pg:15432/TCP"]),
        _service("prod/plain", "None", ports=["http:80/TCP"], ipFamilyPolicy="PreferDualStack"),
        _slice("prod/plain", "plain-4", ["10.244.1.30", "10.244.2.30"], ["http:80/TCP"]),
        _slice("prod/plain", "plain-6", ["fd00:10:244::30", "2001:db8:0:6666::"], ["http:80/TCP"], "IPv6"),
        _service("prod/waiting", "None", ports=["http:80/TCP"]),
        _slice("prod/waiting", "waiting-1", ["!10.244.1.40"], ["http:80/TCP"]),
        _service("prod/nobody", "None", ports=["http:80/TCP"]),
        _service("prod/portless", "None"),
        _slice("prod/portless", "portless-1", ["p-0=10.244.1.50"]),
        _service("prod/twins", "None", ports=["a:1000/TCP", "b:2000/UDP"]),
        _slice("prod/twins", "twins-1", ["twin=10.244.1.60", "twin=10.244.2.60"], ["a:1000/TCP", "b:2000/UDP"]),
        _alias("prod/alias", "web.prod.svc.cluster.local"),
        _alias("prod/alias2", "alias.prod.svc.cluster.local"),
        _alias("prod/to-six", "six.prod.svc.cluster.local"),
        _alias("prod/to-db", "db-0.db.prod.svc.cluster.local"),
        _alias("prod/dangling", "missing.prod.svc.cluster.local"),
        _alias("prod/loop-a", "loop-b.prod.svc.cluster.local"),
        _alias("prod/loop-b", "loop-a.prod.svc.cluster.local"),
        _alias("prod/self", "self.prod.svc.cluster.local"),
        _alias("prod/below", "x.below.prod.svc.cluster.local"),
        _alias("prod/outside", "www.example.org"),
        _alias("prod/chain", "outside.prod.svc.cluster.local"),
        _alias("prod/via", "alias.example.org"),
        _alias("prod/gone", "gone.example.org"),
        _alias("prod/literal", "192.0.2.1"),
        *(_alias(f"prod/link-{n}", f"link-{n - 1}.prod.svc.cluster.local") for n in range(1, 13)),
        _service("prod/link-0", "10.96.1.16", ports=["80/TCP"]),
    ]


UPSTREAM = {
    ("www.example.org.", "A"): ["www.example.org. 60 IN A 192.0.2.80"],
    ("www.example.org.", "AAAA"): ["www.example.org. 60 IN AAAA 2001:db8::80"],
    ("alias.example.org.", "A"): [
        "alias.example.org. 70 IN CNAME www.example.org.",
        "www.example.org. 60 IN A 192.0.2.80",
    ],
    ("www.example.org.", "MX"): ["www.example.org. 60 IN MX 10 mail.example.org."],
    ("1.51.100.198.in-addr.arpa.", "PTR"): ["1.51.100.198.in-addr.arpa. 60 IN PTR host.example.org."],
}
"""What the resolver outside the cluster answers; NXDOMAIN to all else."""

NODATA, NX = "NODATA", "NXDOMAIN"


def _absolute(name: str) -> str:
    return name if name.endswith(".") else f"{name}.cluster.local."


def _line(text: str, question: str) -> str:
    owner, *rest = text.split()
    ttl = rest.pop(0) if rest[0].isdigit() else str(TTL)
    kind, *data = rest
    if kind in ("SRV", "CNAME", "PTR", "NS"):
        data[-1] = _absolute(data[-1])
    return " ".join([question if owner == "@" else _absolute(owner), ttl, "IN", kind, *data])


def _soa(question: str) -> str:
    labels = question.lower().split(".")
    zone = next(zone for zone in ZONES if question.lower().endswith(zone + "."))
    spelt = ".".join(question.split(".")[len(labels) - len(zone.split(".")) - 1 :])
    return f"{spelt} {TTL} IN SOA ns.dns.{spelt} hostmaster.{spelt} 0 7200 1800 86400 {TTL}"


def row(key: str, question: str, *answer: str, glue: Sequence[str] = (), aa: bool = True, coredns: str = "") -> Row:
    """`row("id", "web.prod.svc A", "@ A 10.96.1.10")`; a single NODATA, NX or REFUSED instead of records."""
    name, kind = question.split()
    name = _absolute(name)
    if answer in ((NODATA,), (NX,)):
        said = Said("NOERROR" if answer == (NODATA,) else NX, aa, authority=(_soa(name),))
    elif answer == ("REFUSED",):
        said = Said("REFUSED", aa=False)
    else:
        lines = tuple(sorted(_line(text, name) for text in answer))
        said = Said("NOERROR", aa, lines, (), tuple(sorted(_line(text, name) for text in glue)))
    return Row(key, name, kind, said, coredns)


def _rows(key: str, name: str, kinds: str, *answer: str, coredns: str = "") -> Iterable[Row]:
    """The same answer to several types."""
    return (row(f"{key} {kind}", f"{name} {kind}", *answer, coredns=coredns) for kind in kinds.split())


_DB_GLUE = ("db-0.db.prod.svc A 10.244.1.20", "db-1.db.prod.svc A 10.244.2.20", "10-244-4-20.db.prod.svc A 10.244.4.20")
_PLAIN = ("10-244-1-30", "10-244-2-30", "fd00-10-244--30", "2001-db8-0-6666--0")
_PLAIN_GLUE = tuple(
    f"{label}.plain.prod.svc {kind} {address}"
    for label, kind, address in zip(
        _PLAIN,
        ("A", "A", "AAAA", "AAAA"),
        ("10.244.1.30", "10.244.2.30", "fd00:10:244::30", "2001:db8:0:6666::"),
        strict=True,
    )
)
_OTHER_TYPES = "MX NS HTTPS ANY CAA PTR"
_V6 = "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.1.0.0.0.0.d.f.ip6.arpa."

ROWS: tuple[Row, ...] = (
    # Services with a ClusterIP.
    row("clusterip A", "web.prod.svc A", "@ A 10.96.1.10"),
    row("clusterip AAAA", "web.prod.svc AAAA", NODATA),
    row(
        "clusterip SRV",
        "web.prod.svc SRV",
        *("@ SRV 0 50 80 web.prod.svc", "@ SRV 0 50 9090 web.prod.svc"),
        glue=["web.prod.svc A 10.96.1.10"],
    ),
    *_rows("clusterip", "web.prod.svc", f"TXT CNAME SOA {_OTHER_TYPES}", NODATA),
    row("another namespace", "web.dev.svc A", "@ A 10.96.2.10"),
    row("port SRV", "_http._tcp.web.prod.svc SRV", "@ SRV 0 100 80 web.prod.svc", glue=["web.prod.svc A 10.96.1.10"]),
    row("port A", "_http._tcp.web.prod.svc A", "@ A 10.96.1.10"),
    row("port AAAA", "_http._tcp.web.prod.svc AAAA", NODATA),
    row(
        "bare port SRV", "http.tcp.web.prod.svc SRV", "@ SRV 0 100 80 web.prod.svc", glue=["web.prod.svc A 10.96.1.10"]
    ),
    *_rows("port of another protocol", "_http._udp.web.prod.svc", "A SRV TXT MX", NX),
    row("port of another protocol SOA", "_http._udp.web.prod.svc SOA", NODATA),
    row("no such port", "_https._tcp.web.prod.svc SRV", NX),
    *_rows("protocol", "_tcp.web.prod.svc", "A SRV NS", NODATA, coredns=NX),
    row("protocol not in use", "_udp.web.prod.svc A", NX),
    row("too long", "a.b.c.web.prod.svc A", NX),
    row(
        "unnamed port SRV",
        "single.prod.svc SRV",
        "@ SRV 0 100 8080 single.prod.svc",
        glue=["single.prod.svc A 10.96.1.11"],
    ),
    row("unnamed port by name", "_._tcp.single.prod.svc SRV", NX, coredns="NOERROR"),
    row("dual A", "dual.prod.svc A", "@ A 10.96.1.12"),
    row("dual AAAA", "dual.prod.svc AAAA", "@ AAAA fd00:10:96::12"),
    row(
        "dual SRV",
        "_dns._udp.dual.prod.svc SRV",
        "@ SRV 0 50 53 dual.prod.svc",
        glue=["dual.prod.svc A 10.96.1.12", "dual.prod.svc AAAA fd00:10:96::12"],
    ),
    row("v6 A", "six.prod.svc A", NODATA),
    row("v6 AAAA", "six.prod.svc AAAA", "@ AAAA fd00:10:96::6"),
    row("nodeport A", "open.prod.svc A", "@ A 10.96.1.13"),
    row("loadbalancer A", "front.prod.svc A", "@ A 10.96.1.14"),
    row("without selector A", "manual.prod.svc A", "@ A 10.96.1.15"),
    row("endpoint of a clusterip A", "10-244-1-5.web.prod.svc A", "@ A 10.244.1.5"),
    row(
        "endpoint of a clusterip SRV",
        "10-244-1-5.web.prod.svc SRV",
        *("@ SRV 0 50 8080 10-244-1-5.web.prod.svc", "@ SRV 0 50 9091 10-244-1-5.web.prod.svc"),
        glue=["10-244-1-5.web.prod.svc A 10.244.1.5"],
    ),
    row("endpoint not ready A", "10-244-2-5.web.prod.svc A", NX),
    *_rows("missing service", "missing.prod.svc", f"A AAAA SRV TXT CNAME {_OTHER_TYPES}", NX),
    row("missing service SOA", "missing.prod.svc SOA", NODATA),
    row("missing namespace", "web.nowhere.svc A", NX),
    row("any is a label", "any.prod.svc A", NX),
    row("a star is a label", "*.prod.svc A", NX),
    row("transfer", "web.prod.svc AXFR", "REFUSED"),
    # Case: what was asked comes back as it was asked, what is stored in lower case.
    row("case A", "WeB.pRoD.sVc.ClUsTeR.lOcAl. A", "@ A 10.96.1.10"),
    row(
        "case SRV",
        "_HtTp._TcP.WeB.pRoD.sVc.ClUsTeR.lOcAl. SRV",
        "@ SRV 0 100 80 web.prod.svc.ClUsTeR.lOcAl.",
        glue=["web.prod.svc.ClUsTeR.lOcAl. A 10.96.1.10"],
    ),
    row("case NX", "MiSsInG.pRoD.sVc.ClUsTeR.lOcAl. A", NX),
    # Headless services.
    row("headless A", "db.prod.svc A", "@ A 10.244.1.20", "@ A 10.244.2.20", "@ A 10.244.4.20"),
    row("headless AAAA", "db.prod.svc AAAA", NODATA),
    row(
        "headless SRV",
        "_pg._tcp.db.prod.svc SRV",
        *("@ SRV 0 25 15432 db-0.db.prod.svc", "@ SRV 0 25 15432 db-1.db.prod.svc"),
        "@ SRV 0 25 15432 10-244-4-20.db.prod.svc",
        glue=_DB_GLUE,
    ),
    row("hostname A", "db-0.db.prod.svc A", "@ A 10.244.1.20"),
    row("hostname AAAA", "db-0.db.prod.svc AAAA", NODATA),
    row(
        "hostname SRV",
        "db-1.db.prod.svc SRV",
        "@ SRV 0 100 15432 db-1.db.prod.svc",
        glue=["db-1.db.prod.svc A 10.244.2.20"],
    ),
    row("hostname not ready A", "db-2.db.prod.svc A", NX),
    row("dashed beside a hostname", "10-244-1-20.db.prod.svc A", NX),
    row("plain A", "plain.prod.svc A", "@ A 10.244.1.30", "@ A 10.244.2.30"),
    row("plain AAAA", "plain.prod.svc AAAA", "@ AAAA fd00:10:244::30", "@ AAAA 2001:db8:0:6666::"),
    row(
        "plain SRV", "plain.prod.svc SRV", *(f"@ SRV 0 25 80 {one}.plain.prod.svc" for one in _PLAIN), glue=_PLAIN_GLUE
    ),
    row("dashed v6 AAAA", "2001-db8-0-6666--0.plain.prod.svc AAAA", "@ AAAA 2001:db8:0:6666::"),
    row("dashed v6 A", "2001-db8-0-6666--0.plain.prod.svc A", NODATA),
    *_rows("none ready", "waiting.prod.svc", "A AAAA SRV TXT MX", NX),
    row("none ready SOA", "waiting.prod.svc SOA", NODATA),
    row("no endpoints", "nobody.prod.svc A", NX),
    row("no ports A", "portless.prod.svc A", "@ A 10.244.1.50"),
    row("no ports hostname A", "p-0.portless.prod.svc A", "@ A 10.244.1.50"),
    row("no ports SRV", "portless.prod.svc SRV", NODATA),
    row(
        "twins SRV",
        "twins.prod.svc SRV",
        *("@ SRV 0 25 1000 twin.twins.prod.svc", "@ SRV 0 25 2000 twin.twins.prod.svc"),
        glue=["twin.twins.prod.svc A 10.244.1.60", "twin.twins.prod.svc A 10.244.2.60"],
    ),
    row("twins A", "twin.twins.prod.svc A", "@ A 10.244.1.60", "@ A 10.244.2.60"),
    # ExternalName.
    row("alias A", "alias.prod.svc A", "@ CNAME web.prod.svc", "web.prod.svc A 10.96.1.10"),
    row("alias CNAME", "alias.prod.svc CNAME", "@ CNAME web.prod.svc"),
    row("alias AAAA", "alias.prod.svc AAAA", NODATA),
    *_rows("alias", "alias.prod.svc", f"SRV TXT {_OTHER_TYPES}", NODATA),
    row(
        "alias of an alias",
        "alias2.prod.svc A",
        *("@ CNAME alias.prod.svc", "alias.prod.svc CNAME web.prod.svc", "web.prod.svc A 10.96.1.10"),
    ),
    row("alias of v6 AAAA", "to-six.prod.svc AAAA", "@ CNAME six.prod.svc", "six.prod.svc AAAA fd00:10:96::6"),
    row("alias of v6 A", "to-six.prod.svc A", NODATA),
    row("alias of an endpoint", "to-db.prod.svc A", "@ CNAME db-0.db.prod.svc", "db-0.db.prod.svc A 10.244.1.20"),
    row("dangling A", "dangling.prod.svc A", NODATA),
    row("dangling CNAME", "dangling.prod.svc CNAME", "@ CNAME missing.prod.svc"),
    row(
        "chain of eleven",
        "link-11.prod.svc A",
        *(f"link-{n}.prod.svc CNAME link-{n - 1}.prod.svc" for n in range(1, 12)),
        "link-0.prod.svc A 10.96.1.16",
    ),
    row("chain of twelve", "link-12.prod.svc A", NODATA),
    row("loop A", "loop-a.prod.svc A", NODATA),
    row("loop CNAME", "loop-a.prod.svc CNAME", "@ CNAME loop-b.prod.svc"),
    row("self A", "self.prod.svc A", NODATA),
    row("below itself A", "below.prod.svc A", NODATA),
    row("outside CNAME", "outside.prod.svc CNAME", "@ CNAME www.example.org."),
    *_rows("an address for a name", "literal.prod.svc", "A AAAA CNAME TXT MX", NX),
    row("endpoint of an alias", "x.alias.prod.svc A", NX),
    row("port of an alias", "_http._tcp.alias.prod.svc SRV", NX),
    # Pods, by the name only (`insecure`).
    row("pod A", "10-1-2-3.prod.pod A", "@ A 10.1.2.3"),
    row("pod AAAA", "10-1-2-3.prod.pod AAAA", NODATA),
    row("pod v6 AAAA", "fd00--7.prod.pod AAAA", "@ AAAA fd00::7"),
    row("pod v6 A", "fd00--7.prod.pod A", NODATA),
    row("pod SRV", "10-1-2-3.prod.pod SRV", "@ SRV 0 100 0 10-1-2-3.prod.pod", glue=["10-1-2-3.prod.pod A 10.1.2.3"]),
    *_rows("pod", "10-1-2-3.prod.pod", "TXT MX CNAME", NODATA),
    row("below a pod", "x.10-1-2-3.prod.pod A", "@ A 10.1.2.3"),
    row("pod without an address", "nginx.prod.pod A", NX),
    row("pod of too many parts", "10-1-2-3-4.prod.pod A", NX),
    row("pod of no namespace", "10-1-2-3.nowhere.pod A", NX),
    # Names that exist and hold nothing.
    *_rows("apex", "cluster.local.", "A AAAA SRV MX PTR CNAME ANY", NODATA),
    row("apex TXT", "cluster.local. TXT", NODATA, coredns=NX),
    row("apex SOA", "cluster.local. SOA", "@ SOA ns.dns.cluster.local. hostmaster.cluster.local. 0 7200 1800 86400 5"),
    row(
        "apex NS", "cluster.local. NS", "@ NS kube-dns.kube-system.svc", glue=["kube-dns.kube-system.svc A 10.96.0.10"]
    ),
    row(
        "apex NS case",
        "CLUSTER.local. NS",
        "@ NS kube-dns.kube-system.svc.CLUSTER.local.",
        glue=["kube-dns.kube-system.svc.CLUSTER.local. A 10.96.0.10"],
        coredns="NOERROR",
    ),
    *_rows("svc", "svc", "A SRV NS SOA", NODATA),
    *_rows("pod root", "pod", "A NS", NODATA),
    row("svc TXT", "svc TXT", NODATA, coredns=NX),
    row("pod root TXT", "pod TXT", NODATA, coredns=NX),
    *_rows("namespace", "prod.svc", "A NS MX SOA", NODATA),
    row("namespace TXT", "prod.svc TXT", NODATA, coredns=NX),
    row("namespace without services", "void.svc A", NODATA),
    row("namespace of pods", "prod.pod A", NODATA),
    *_rows("no namespace", "nowhere.svc", "A TXT", NX),
    row("no namespace of pods", "nowhere.pod A", NX),
    row("neither svc nor pod", "prod A", NX),
    row("neither svc nor pod SOA", "prod SOA", NODATA),
    row("search path", "web.prod.svc.cluster.local.svc A", NX),
    # The names of the zone itself.
    row("schema TXT", "dns-version TXT", '@ 28800 TXT "1.1.0"'),
    *_rows("schema", "dns-version", "A MX", NODATA, coredns=NX),
    row("ns.dns A", "ns.dns A", "@ A 10.96.0.10"),
    *_rows("ns.dns", "ns.dns", "AAAA SRV MX", NODATA),
    *_rows("ns.dns", "ns.dns", "TXT PTR", NODATA, coredns=NX),
    row("ns.dns case", "ns.dns.CLUSTER.local. A", "@ A 10.96.0.10", coredns=NX),
    row("dns", "dns A", NODATA, coredns=NX),
    # Reverse.
    row("clusterip PTR", "10.1.96.10.in-addr.arpa. PTR", "@ PTR web.prod.svc"),
    row("clusterip v6 PTR", f"2.1.0.0.{_V6} PTR", "@ PTR dual.prod.svc"),
    row("endpoint PTR", "20.2.244.10.in-addr.arpa. PTR", "@ PTR db-1.db.prod.svc"),
    row("endpoint in two slices PTR", "20.1.244.10.in-addr.arpa. PTR", "@ PTR db-0.db.prod.svc"),
    row("endpoint of a clusterip PTR", "5.1.244.10.in-addr.arpa. PTR", "@ PTR 10-244-1-5.web.prod.svc"),
    row("endpoint not ready PTR", "20.3.244.10.in-addr.arpa. PTR", NX),
    row("external address PTR", "7.100.51.198.in-addr.arpa. PTR", NX),
    *_rows("clusterip reverse", "10.1.96.10.in-addr.arpa.", "A TXT NS", NODATA, coredns=NX),
    row("clusterip reverse SOA", "10.1.96.10.in-addr.arpa. SOA", NODATA),
    row("no address PTR", "200.1.96.10.in-addr.arpa. PTR", NX),
    row("half an address PTR", "96.10.in-addr.arpa. PTR", NX),
    row("no v6 address PTR", f"9.9.9.9.{_V6} PTR", NX),
    *_rows("reverse apex", "in-addr.arpa.", "A PTR", NODATA),
    row("reverse apex TXT", "in-addr.arpa. TXT", NODATA, coredns=NX),
    row(
        "reverse apex NS",
        "in-addr.arpa. NS",
        "@ NS kube-dns.kube-system.svc",
        glue=["kube-dns.kube-system.svc A 10.96.0.10"],
        coredns="NOERROR",
    ),
)
"""Zones cluster.local, in-addr.arpa and ip6.arpa, TTL 5, pods insecure, no fallthrough."""

FORWARDED: tuple[Row, ...] = (
    row("chased A", "outside.prod.svc A", "@ CNAME www.example.org.", "www.example.org. 60 A 192.0.2.80"),
    row("chased AAAA", "outside.prod.svc AAAA", "@ CNAME www.example.org.", "www.example.org. 60 AAAA 2001:db8::80"),
    row(
        "chased from within",
        "chain.prod.svc A",
        *("@ CNAME outside.prod.svc", "outside.prod.svc CNAME www.example.org.", "www.example.org. 60 A 192.0.2.80"),
    ),
    row(
        "chased through a CNAME",
        "via.prod.svc A",
        *("@ CNAME alias.example.org.", "alias.example.org. 70 CNAME www.example.org."),
        "www.example.org. 60 A 192.0.2.80",
    ),
    row("chased to nothing", "gone.prod.svc A", "@ CNAME gone.example.org."),
    row("not chased for MX", "outside.prod.svc MX", NODATA),
    row("forwarded A", "www.example.org. A", "@ 60 A 192.0.2.80", aa=False),
    row("forwarded MX", "www.example.org. MX", "@ 60 MX 10 mail.example.org.", aa=False),
)
"""The same with a resolver behind the server that knows UPSTREAM."""


def zeroed(line: str) -> str:
    """The line without a serial of its own."""
    words = line.split(" ")
    return " ".join([*words[:6], "0", *words[7:]]) if words[3] == "SOA" else line


def said(reply: Reply) -> Said:
    sections = [
        sorted(zeroed(line_of(one)) for one in part) for part in (reply.answer, reply.authority, reply.additional)
    ]
    return Said(RCODE_NAMES[reply.rcode], reply.authoritative, *map(tuple, sections))


def said_in(packet: bytes) -> Said:
    """What a packet says, as dnslib reads it."""
    message = DNSRecord.parse(packet)
    sections = [
        sorted(zeroed(_written(record)) for record in part if record.rtype != QTYPE.OPT)
        for part in (message.rr, message.auth, message.ar)
    ]
    return Said(str(RCODE[message.header.rcode]), bool(message.header.aa), *map(tuple, sections))


def _written(record: Any) -> str:
    kind, data = QTYPE[record.rtype], str(record.rdata)
    if kind == "AAAA":
        data = str(ip_address(bytes(record.rdata.data)))
    return f"{record.rname} {record.ttl} {CLASS[record.rclass]} {kind} {data}"
