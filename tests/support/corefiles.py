"""Corefiles, and what becomes of them: for our reader and for the real CoreDNS.

In: nothing. Out: `KUBEADM` and `NODE_LOCAL`, as kubeadm 1.36 and the node-local-dns manifest deploy them (the latter
with its variables to be filled in); `ROWS`, small files that are taken or refused. In a row `BODY` lines stand in a
server block that listens on loopback; `{$PORT}` is filled in by whoever reads the file.
"""

from __future__ import annotations

from dataclasses import dataclass

KUBEADM = """\
.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
"""

NODE_LOCAL = """\
__PILLAR__DNS__DOMAIN__:53 {
    errors
    cache {
            success 9984 30
            denial 9984 5
    }
    reload
    loop
    bind __PILLAR__LOCAL__DNS__ __PILLAR__DNS__SERVER__
    forward . __PILLAR__CLUSTER__DNS__ {
            force_tcp
    }
    prometheus :9253
    health __PILLAR__LOCAL__DNS__:8080
    }
in-addr.arpa:53 {
    errors
    cache 30
    reload
    loop
    bind __PILLAR__LOCAL__DNS__ __PILLAR__DNS__SERVER__
    forward . __PILLAR__CLUSTER__DNS__ {
            force_tcp
    }
    prometheus :9253
    }
ip6.arpa:53 {
    errors
    cache 30
    reload
    loop
    bind __PILLAR__LOCAL__DNS__ __PILLAR__DNS__SERVER__
    forward . __PILLAR__CLUSTER__DNS__ {
            force_tcp
    }
    prometheus :9253
    }
.:53 {
    errors
    cache 30
    reload
    loop
    bind __PILLAR__LOCAL__DNS__ __PILLAR__DNS__SERVER__
    forward . __PILLAR__UPSTREAM__SERVERS__
    prometheus :9253
    }
"""


@dataclass(frozen=True, slots=True)
class File:
    """`says`: a part of our refusal, "" where the file is taken. `ours`: CoreDNS takes it; we have no such thing."""

    id: str
    text: str
    says: str = ""
    ours: bool = False


def _in_block(body: str) -> str:
    return ".:{$PORT} {\n    bind 127.0.0.1\n" + "".join(f"    {line}\n" for line in body.splitlines()) + "}\n"


def _in_kubernetes(body: str) -> str:
    lines = ("endpoint http://127.0.0.1:1", "startup_timeout 1ms", *body.splitlines())
    return _in_block("kubernetes cluster.local {\n" + "".join(f"    {line}\n" for line in lines) + "}")


def _in_forward(body: str) -> str:
    return _in_block("forward . 127.0.0.1:1 {\n" + "".join(f"    {line}\n" for line in body.splitlines()) + "}")


def _in_cache(body: str) -> str:
    return _in_block("forward . 127.0.0.1:1\ncache {\n" + "".join(f"    {line}\n" for line in body.splitlines()) + "}")


def _plain(id_: str, body: str, says: str = "", ours: bool = False) -> File:
    return File(id_, _in_block(body), says, ours)


ROWS: list[File] = [
    File("comments", "# a\n.:{$PORT} { # b\n  bind 127.0.0.1 # c\n  errors\n}\n# d"),
    File("two keys and commas", "a.example:{$PORT}, b.example:{$PORT} {\n bind 127.0.0.1\n errors\n}"),
    File("keys over two lines", "a.example:{$PORT},\nb.example:{$PORT} {\n bind 127.0.0.1\n errors\n}"),
    File("no braces", ".:{$PORT}\nbind 127.0.0.1\nerrors\n"),
    File("a scheme", "dns://.:{$PORT} {\n bind 127.0.0.1\n errors\n}"),
    File("a snippet", "(mine) {\n errors\n}\n.:{$PORT} {\n bind 127.0.0.1\n import mine\n}"),
    File("quotes", '".:{$PORT}" {\n bind "127.0.0.1"\n errors\n}'),
    File("a CIDR", "10.96.0.0/12:{$PORT} {\n bind 127.0.0.1\n errors\n}"),
    File("two blocks", "a.example:{$PORT} {\n bind 127.0.0.1\n errors\n}\n.:{$PORT} {\n bind 127.0.0.1\n errors\n}"),
    File("a byte order mark", "\ufeff.:{$PORT} {\n bind 127.0.0.1\n errors\n}"),
    File("no closing brace", ".:{$PORT} {\n bind 127.0.0.1\n errors\n", "has no closing brace"),
    File("no closing brace inside", ".:{$PORT} {\n bind 127.0.0.1\n errors {\n stacktrace\n", "no closing brace"),
    # CoreDNS takes the last brace for a zone of this name.
    File("a brace too many", ".:{$PORT} {\n bind 127.0.0.1\n errors\n}\n}", "'}'", ours=True),
    File("a comma at the end", ".:{$PORT},", "must follow the comma"),
    File("a snippet twice", "(a) {\n errors\n}\n(a) {\n log\n}\n.:{$PORT} {\n import a\n}", "defined twice"),
    File("a snippet that imports itself", "(a) {\n import a\n}\n.:{$PORT} {\n import a\n}", "imports"),
    File("import of nothing", ".:{$PORT} {\n import not-there.conf\n}", "import"),
    File("a zone twice", ".:{$PORT} {\n bind 127.0.0.1\n}\n.:{$PORT} {\n bind 127.0.0.1\n}", "already defined"),
    File("a zone here and everywhere", ".:{$PORT} {\n bind 127.0.0.1\n}\n.:{$PORT} {\n}", "overlap"),
    File("no zone", "a..b:{$PORT} {\n bind 127.0.0.1\n errors\n}", "no domain name"),
    File("no port", "example.org: {\n bind 127.0.0.1\n errors\n}", "after the last colon"),
    _plain("unknown", "kubernets cluster.local", "Corefile:3: unknown directive 'kubernets'"),
    _plain("not ours", "whoami", "plugin 'whoami' of CoreDNS is not there", ours=True),
    _plain("twice", "errors\nerrors", "only once"),
    _plain("cache twice", "cache\ncache", "only once"),
    _plain("bind nothing", "bind", "wrong argument count"),
    _plain("bind except", "bind 127.0.0.2 {\n except 127.0.0.2\n}"),
    _plain("bind unknown", "bind 127.0.0.2 {\n port 5\n}", "unknown property 'port'"),
    _plain("errors", 'errors {\n consolidate 5m ".* i/o timeout$" warning\n consolidate 30s "^a" show_first\n}'),
    _plain("errors to stdout", "errors stdout"),
    _plain("errors to a file", "errors /tmp/x", "invalid log file"),
    _plain("errors unknown", "errors {\n loudly\n}", "unknown property 'loudly'"),
    _plain("errors with a bad pattern", 'errors {\n consolidate 5m "("\n}', "'('"),
    _plain("log", "log"),
    _plain("log rules", "log example.org {\n class denial error\n}\nlog . {\n class all\n}"),
    _plain("log class", "log . {\n class loud\n}", "no class of replies"),
    _plain("log common", 'log . "{common}"'),
    _plain("log in a format", 'log . "{type} {name} {/forward/upstream} {nonsense"'),
    _plain("log combined", "log . {combined} {\n class error\n}"),
    _plain("health", "health 127.0.0.1:0 {\n lameduck 1m30s\n}"),
    _plain("health without a port", "health 127.0.0.1", "is no address"),
    _plain("lameduck", "health 127.0.0.1:0 {\n lameduck 5\n}", "no duration"),
    _plain("ready", "ready 127.0.0.1:0 {\n monitor continuously\n}"),
    _plain("ready never", "ready 127.0.0.1:0 {\n monitor never\n}", "not supported"),
    _plain("prometheus", "prometheus 127.0.0.1:0"),
    _plain("prometheus without a port", "prometheus localhost", "is no address"),
    _plain("loop", "loop"),
    _plain("loop with words", "loop a", "wrong argument count"),
    _plain("reload", "reload 10s 5s"),
    _plain("reload too often", "reload 1s", "greater or equal to 2s"),
    _plain("reload jitter", "reload 10s 500ms", "0 or greater or equal to 1s"),
    _plain("loadbalance", "loadbalance round_robin"),
    _plain("loadbalance unknown", "loadbalance fair", "unknown policy"),
    _plain("autopath of a file", "autopath /etc/resolv.conf"),
    _plain("autopath by pod", "autopath example.org @kubernetes"),
    _plain("autopath of nothing", "autopath", "wrong argument count"),
    _plain("autopath by another plugin", "autopath @hosts", "knows no search paths", ours=True),
    _plain("hosts", "hosts /etc/hosts example.org {\n 192.0.2.1 a.example.org\n ttl 60\n no_reverse\n fallthrough\n}"),
    _plain("hosts ttl", "hosts {\n ttl 0\n}", "not in range [1, 65535]"),
    _plain("hosts reload", "hosts {\n reload often\n}", "no duration"),
    _plain("hosts for addresses only", "hosts {\n fallthrough_unsupported\n fallthrough example.org\n}"),
    _plain("hosts for addresses only, to nobody", "hosts {\n fallthrough_unsupported\n}", "requires fallthrough"),
    _plain("hosts for addresses only, with a zone", "hosts {\n fallthrough\n fallthrough_unsupported a\n}", "count"),
    _plain("hosts after fallthrough", "hosts {\n fallthrough\n 192.0.2.1 a\n}", "unknown property"),
    _plain("rewrite", "rewrite name a.example b.example"),
    _plain("rewrite exact", "rewrite stop name exact a.example b.example"),
    _plain("rewrite suffix", "rewrite continue name suffix .a.example .b.example answer auto"),
    _plain("rewrite in braces", "rewrite {\n name suffix a.example b.example\n answer auto\n}"),
    _plain("rewrite nothing", "rewrite name a.example", "rewrite"),
    _plain("rewrite what", "rewrite colour a b", "only names"),
    _plain("rewrite how", "rewrite name fuzzy a.example b.example", "fuzzy"),
    _plain("rewrite regex", "rewrite name regex (.*)\\.a {1}.b", "'regex' names are not matched here", ours=True),
    _plain("acl", "acl example.org {\n allow net 10.0.0.0/8 fd00::1 192.0.2.1\n BLOCK Type A AAAA Net *\n drop\n}"),
    _plain("acl twice", "acl {\n filter type * net 10.1.2.3/8\n}\nacl example.net {\n drop type ANY\n}"),
    _plain("acl of nothing", "acl"),
    _plain("acl all and a mistake", "acl {\n block net * nowhere\n}"),
    _plain("acl unknown", "acl {\n forgive net *\n}", "unknown property 'forgive' of acl"),
    _plain("acl where", "acl {\n block from 10.0.0.0/8\n}", "where 'type' or 'net' was expected"),
    _plain("acl no net", "acl {\n block type A net\n}", "nothing after 'net'"),
    _plain("acl bad net", "acl {\n block net 10.0.0.0/33\n}", "no CIDR"),
    _plain("acl net by mask", "acl {\n block net 10.0.0.0/255.0.0.0\n}", "no CIDR"),
    _plain("acl bad type", "acl {\n block type a\n}", "no type of records"),
    _plain("transfer", "transfer {\n to *\n}"),
    _plain("transfer to whom", "transfer example.org {\n to 10.1.2.3 fd00::1\n}"),
    _plain("transfer to nobody", "transfer", "'to' is required"),
    _plain("transfer from", "transfer {\n from *\n}", "unknown property 'from' of transfer"),
    _plain("transfer to a word", "transfer {\n to everybody\n}", "no address"),
    _plain("rewrite ttl", "rewrite ttl example.org 30", "only names", ours=True),
    _plain("forward", "forward . 127.0.0.1:1 [::1]:53 127.0.0.2"),
    _plain("forward to a file", "forward . /etc/resolv.conf"),
    _plain("forward to host names", "forward . localhost localhost:5355 tls://localhost%dns.example"),
    _plain("forward to no host name", "forward . a..b", "not an IP address, a file or a host name"),
    _plain("forward to three numbers", "forward . 1.2.3", "not an IP address, a file or a host name"),
    _plain("forward over TLS", "forward . tls://127.0.0.1 tls://127.0.0.2%dns.example {\n health_check 5s\n}"),
    _plain("forward twice", "forward example.org 127.0.0.1\nforward . 127.0.0.2"),
    _plain("forward nowhere", "forward .", "wrong argument count"),
    _plain("forward over https", "forward . https://127.0.0.1", "not supported", ours=True),
    _plain("forward by pigeon", "forward . pigeon://127.0.0.1", "not supported"),
    _plain("forward to sixteen", "forward . " + " ".join(f"127.0.1.{n}" for n in range(16)), "more than 15"),
    *(
        File(f"forward {body}", _in_forward(body), says, ours)
        for body, says, ours in (
            ("except a.example b.example\nforce_tcp\nprefer_udp", "", False),
            ("max_fails 0\nmax_concurrent 5\nexpire 20s\npolicy round_robin", "", False),
            ("health_check 1s no_rec domain example.org", "", False),
            ("read_timeout 1s\nmax_connect_attempts 3\nfailfast_all_unhealthy_upstreams", "", False),
            ("tls\ntls_servername dns.example", "", False),
            ("resolver 127.0.0.1 127.0.0.2:5353 fd00::1", "", False),
            ("resolver", "wrong argument count", False),
            ("resolver dns.example", "'dns.example' is not ADDRESS:PORT", False),
            ("policy best", "unknown policy 'best'", False),
            ("policy", "wrong argument count", False),
            ("max_fails -1", "not in range", False),
            ("max_concurrent many", "no number", False),
            ("max_concurrent -1", "not in range", False),
            ("expire 5", "no duration", False),
            ("force_tcp yes", "wrong argument count", False),
            ("health_check", "wrong argument count", False),
            ("health_check 5s daily", "unknown option daily", False),
            ("colour blue", "Corefile:4: unknown property 'colour' of forward", False),
            ("next NXDOMAIN", "unknown property 'next'", True),
        )
    ),
    *(
        File(f"cache {body}", _in_cache(body), says, ours)
        for body, says, ours in (
            ("success 5000 60 1\ndenial 500 30", "", False),
            ("prefetch 10 1m 20%", "", False),
            ("serve_stale", "", False),
            ("serve_stale 30m verify 500ms", "", False),
            ("servfail 0\ndisable success\ndisable denial example.org\nkeepttl", "", False),
            ("success", "wrong argument count", False),
            ("success 100 0", "not in range", False),
            ("prefetch 10 1m 20", "no percentage", False),
            ("prefetch 10 1m 95%", "not in range [10, 90]", False),
            ("serve_stale 30m later", "refresh mode", False),
            ("servfail 6m", "over 5 minutes", False),
            ("disable everything", "must be 'success' or 'denial'", False),
            ("forever", "unknown property 'forever'", False),
            ("serve_stale\nserve_stale_policy prefer_positive", "unknown property 'serve_stale_policy'", True),
        )
    ),
    _plain("cache for no time", "cache 0", "not in range"),
    _plain("cache zones", "cache 60 example.org example.net"),
    *(
        File(f"kubernetes {body}", _in_kubernetes(body), says, ours)
        for body, says, ours in (
            ("pods verified\nendpoint_pod_names\nttl 0\nnoendpoints\nignore empty_service", "", False),
            ("namespaces a b\nlabels environment in (production, qa)", "", False),
            ("namespace_labels istio-injection=enabled\nfallthrough", "", False),
            ("fallthrough in-addr.arpa", "", False),
            ("namespaces a\nnamespace_labels b=c", "cannot both be set", False),
            ("pods", "wrong argument count", False),
            ("pods maybe", "wrong value for pods: maybe", False),
            ("ttl 3601", "not in range [0, 3600]", False),
            ("ttl -1", "not in range [0, 3600]", False),
            ("noendpoints please", "wrong argument count", False),
            ("ignore everything", "unable to parse ignore value", False),
            ("tls a b", "wrong argument count", False),
            ("resyncperiod 5m", "unknown property 'resyncperiod' of kubernetes", False),
            ("startup_timeout soon", "no duration", False),
            ("zonal", "unknown property 'zonal'", True),
        )
    ),
    _plain("kubernetes in reverse zones only", "kubernetes in-addr.arpa", "must be no reverse zone"),
    _plain("kubernetes twice", "kubernetes a\nkubernetes b", "only once"),
]
