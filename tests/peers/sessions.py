"""The sets of switches under which kube-proxy and our agent are compared, and the node they stand on.

Each set says the same thing in both programs' words, in one flavour of iptables. Most combine what does not meet.
"""

from __future__ import annotations

import msgspec

from peers.kube_proxy import Flavour
from peers.pair import Switches

DUAL = "10.244.0.0/16,fd00:10:244::/56"
NODE_ADDRESSES = ("192.168.56.11", "fd00:56::11")
POD_CIDRS = ("10.244.1.0/24", "fd00:10:244:1::/64")
ON_BRIDGE = ("192.168.56.11/24", "fd00:56::11/64", "10.0.0.5/24", "192.168.56.12/24")


class Session(msgspec.Struct, frozen=True):
    """Switches, and a sort of cluster. In a `large` one the two modes of writing endpoints are gone through."""

    id: str
    flavour: Flavour
    switches: Switches
    large: bool = False


SESSIONS = (
    Session("usual", "nft", Switches(DUAL)),
    Session(
        "no-cidr-masquerade-all", "legacy", Switches("", {"iptables": {"masqueradeAll": True}}, ("--masquerade-all",))
    ),
    Session("ipv4-cidr-legacy", "legacy", Switches("10.244.0.0/16")),
    Session(
        "node-cidr-mark-bit",
        "nft",
        Switches(
            "",
            {"detectLocalMode": "NodeCIDR", "iptables": {"masqueradeBit": 5}},
            ("--detect-local-mode", "NodeCIDR", "--iptables-masquerade-bit", "5"),
        ),
    ),
    Session(
        "bridge-no-localhost",
        "legacy",
        Switches(
            "",
            {
                "detectLocalMode": "BridgeInterface",
                "detectLocal": {"bridgeInterface": "cbr0"},
                "iptables": {"localhostNodePorts": False},
            },
            (
                *("--detect-local-mode", "BridgeInterface", "--pod-bridge-interface", "cbr0"),
                "--iptables-localhost-nodeports=false",
            ),
        ),
    ),
    Session("large", "legacy", Switches(DUAL), large=True),
    Session(
        "prefix-nodeport-cidrs",
        "nft",
        Switches(
            "",
            {
                "detectLocalMode": "InterfaceNamePrefix",
                "detectLocal": {"interfaceNamePrefix": "veth"},
                "nodePortAddresses": ["192.168.56.0/24", "127.0.0.0/8"],
            },
            (
                *("--detect-local-mode", "InterfaceNamePrefix", "--pod-interface-name-prefix", "veth"),
                *("--nodeport-addresses", "192.168.56.0/24,127.0.0.0/8"),
            ),
        ),
    ),
    Session(
        "primary-liberal",
        "nft",
        Switches(
            DUAL,
            {
                "nodePortAddresses": ["primary"],
                "conntrack": {
                    "maxPerCore": 0,
                    "min": 0,
                    "tcpEstablishedTimeout": "0s",
                    "tcpCloseWaitTimeout": "0s",
                    "tcpBeLiberal": True,
                },
            },
            ("--nodeport-addresses", "primary", "--conntrack-tcp-be-liberal"),
        ),
    ),
)
