"""/flagz and /statusz as text. Pure."""

from __future__ import annotations

from svcagent.options import Conntrack, Options
from svcagent.zpages import WARNING, flagz, statusz


def test_flagz_shows_every_switch() -> None:
    lines = flagz(
        Options(
            cluster_cidr=("10.244.0.0/16", "fd00::/48"),
            masquerade_all=True,
            feature_gates=(("A", False),),
            conntrack=Conntrack(udp_timeout=2.5),
        )
    ).decode()
    assert lines.startswith(f"\nsvcplane-agent flagz\n{WARNING}\nbeside-kube-proxy: false\n")
    shown = dict(line.split(": ", 1) for line in lines.splitlines()[3:])
    assert len(shown) == len(Options.__struct_fields__) - 1 + len(Conntrack.__struct_fields__)
    assert shown["cluster-cidr"] == "10.244.0.0/16,fd00::/48"
    assert shown["masquerade-all"] == "true"
    assert shown["feature-gates"] == "A=false"
    assert shown["conntrack-udp-timeout"] == "2.5s"
    assert shown["sync-period"] == "30s"


def test_statusz() -> None:
    text = statusz(1795261846.6, 1795261846.6 + 3600 + 125.5, "3.11.7", "0.1.0", ["/metrics", "/configz"]).decode()
    assert text.splitlines()[4:] == [
        "Started: Sat Nov 21 11:50:46 UTC 2026",
        "Up: 1 hr 02 min 05 sec",
        "Python version: 3.11.7",
        "Binary version: 0.1.0",
        "Paths: /configz /metrics",
    ]
