"""Where externalIPs may come from: anybody who may write a Service can otherwise draw any address (CVE-2020-8554)."""

from __future__ import annotations

import pytest

from support.worlds import NODE, endpoint, service, slice_of
from svcagent.options import parse
from svcagent.resolve import NodeView, resolve

ASKED = ["203.0.113.7", "198.51.100.1", "fd00:203::7"]


@pytest.mark.parametrize(
    ("flags", "four", "six"),
    [
        ((), ("203.0.113.7", "198.51.100.1"), ("fd00:203::7",)),
        (("--external-ips-allowed", "203.0.113.0/24"), ("203.0.113.7",), ()),
        (("--external-ips-allowed", "203.0.113.7/32,fd00:203::/64"), ("203.0.113.7",), ("fd00:203::7",)),
        (("--feature-gates", "AllowServiceExternalIPs=false"), (), ()),
        (("--feature-gates", "AllowServiceExternalIPs=false", "--external-ips-allowed", "203.0.113.0/24"), (), ()),
    ],
    ids=["anywhere", "one range", "ranges of both families", "gate off", "gate off beats ranges"],
)
def test_only_allowed_ones_are_served(flags: tuple[str, ...], four: tuple[str, ...], six: tuple[str, ...]) -> None:
    view = NodeView(NODE, external_ip_ranges=parse(flags).external_ip_ranges)
    served = {}
    for family in ("IPv4", "IPv6"):
        resolved = resolve(service(externalIPs=ASKED), [slice_of("web", endpoint("10.244.1.1"))], family, view)
        (port,) = resolved.ports
        served[family] = port.external_ips
        refused = [each for each in ASKED if (":" in each) == (family == "IPv6") and each not in port.external_ips]
        assert resolved.problems == tuple(f"externalIP {each} is not allowed on this node" for each in refused)
    assert served == {"IPv4": four, "IPv6": six}
