"""What a pod's own resolver asks: the resolv.conf that the kubelet writes, and the names it makes of one.

In: a Pod as the API server sends it, and the cluster's zone. Out: the resolv.conf as a value, and the names that are
asked one after the other. Source: pkg/kubelet/network/dns of Kubernetes 1.36; resolv.conf(5); the resolvers of glibc
2.36, musl 1.2 and Go 1.24.

All of them go on to the next name at NXDOMAIN. At NODATA (the name exists, the type does not) glibc and Go go on, musl
ends. The node's own search list and nameservers are not in the API: what a pod has from there is not known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from svckube.objects import ObjectMeta, Value

NDOTS = 5  # what the kubelet writes; without a word in resolv.conf it is 1
MOST_SEARCHED = 32


class Option(Value, frozen=True):
    name: str = ""
    value: str | None = None


class PodDNSConfig(Value, frozen=True):
    nameservers: tuple[str, ...] | None = None
    searches: tuple[str, ...] | None = None
    options: tuple[Option, ...] | None = None


class PodSpec(Value, frozen=True):
    dns_policy: str = "ClusterFirst"
    dns_config: PodDNSConfig = PodDNSConfig()
    host_network: bool = False


class Client(Value, frozen=True):
    """A Pod, as far as its resolv.conf depends on it."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()


Searched: TypeAlias = tuple[str, ...]


class ResolvConf(msgspec.Struct, frozen=True):
    """`of_cluster`: the cluster's DNS server is asked first; `of_node`: what the node's file says comes on top.

    `nameservers`: those that the Pod itself names. `search` without last dots.
    """

    of_cluster: bool
    of_node: bool
    because: str
    nameservers: tuple[str, ...]
    search: Searched
    ndots: int


def resolv_conf(pod: Client, zone: str) -> ResolvConf:
    """What the kubelet writes for the pod, as far as the API knows; `zone` is the cluster's, `cluster.local`."""
    spec, config = pod.spec, pod.spec.dns_config
    policy = spec.dns_policy or "ClusterFirst"
    of_cluster = policy == "ClusterFirstWithHostNet" or (policy == "ClusterFirst" and not spec.host_network)
    because = f"dnsPolicy {policy}"
    if policy == "ClusterFirst" and spec.host_network:
        because += " and hostNetwork: the node's resolv.conf, as with Default; ClusterFirstWithHostNet is the cluster's"
    elif policy == "Default":
        because += ": the node's resolv.conf"
    elif policy == "None":
        because += ": what dnsConfig says, alone"
    zone = zone.rstrip(".")
    own = (f"{pod.metadata.namespace}.svc.{zone}", f"svc.{zone}", zone) if of_cluster else ()
    search = tuple(dict.fromkeys(one.rstrip(".") for one in (*own, *(config.searches or ()))))[:MOST_SEARCHED]
    ndots = NDOTS if of_cluster else 1
    for option in config.options or ():
        if option.name == "ndots" and (option.value or "").isdecimal():
            ndots = int(option.value or "")
    return ResolvConf(of_cluster, policy != "None", because, tuple(config.nameservers or ()), search, ndots)


def names_asked(name: str, conf: ResolvConf) -> tuple[str, ...]:
    """The names that are asked for one, absolute, in order. A last dot means that the name is whole."""
    whole = name.rstrip(".") + "."
    if name.endswith("."):
        return (whole,)
    searched: Sequence[str] = [f"{name}.{one}." if one else whole for one in conf.search]
    asked = (whole, *searched) if name.count(".") >= conf.ndots else (*searched, whole)
    return tuple(dict.fromkeys(asked))
