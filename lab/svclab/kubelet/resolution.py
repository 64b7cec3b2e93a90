"""How a pod finds names: its resolv.conf, its hosts file, its own host name. Pure.

In: a Pod, the node's resolv.conf, the cluster's DNS servers and domain. Out: the text of the files, byte for byte as a
kubelet and containerd write them (kubernetes pkg/kubelet/network/dns, kubelet_pods.go; containerd's CRI plugin).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import msgspec

Body: TypeAlias = dict[str, Any]

MAX_SERVERS = 3
MAX_SEARCHES = 32
MAX_SEARCH_CHARACTERS = 2048
MAX_SEARCH_LENGTH = 253
HOST_NAME_LENGTH = 63

_HOSTS = """\
# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""


class Resolver(msgspec.Struct, frozen=True):
    """The lines of a resolv.conf."""

    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def parse(text: str) -> Resolver:
    """The last `search` wins, `nameserver` and `options` add up."""
    servers: list[str] = []
    searches: list[str] = []
    options: dict[str, str] = {}
    for line in text.splitlines():
        words = line.split()
        if not words or line.lstrip().startswith("#"):
            continue
        if words[0] == "nameserver" and len(words) > 1:
            servers.append(words[1])
        elif words[0] == "search":
            searches = [word.removesuffix(".") for word in words[1:] if word != "."]
        elif words[0] == "options":
            options |= {word.partition(":")[0]: word for word in words[1:]}
    return Resolver(tuple(servers), tuple(searches), tuple(options.values()))


def resolver_of(pod: Body, node: Resolver, cluster_dns: Sequence[str], domain: str) -> Resolver:
    """What the pod resolves with, by `dnsPolicy` and `dnsConfig`; cut to the limits."""
    spec = pod["spec"]
    policy = spec.get("dnsPolicy") or "ClusterFirst"
    cluster = policy == "ClusterFirstWithHostNet" or (policy == "ClusterFirst" and not spec.get("hostNetwork"))
    if policy == "None":
        found = Resolver()
    elif cluster and cluster_dns:
        namespace = pod["metadata"]["namespace"]
        own = (f"{namespace}.svc.{domain}", f"svc.{domain}", domain) if domain else ()
        found = Resolver(tuple(cluster_dns), _unique((*own, *node.searches)), ("ndots:5",))
    else:
        found = node
    if config := spec.get("dnsConfig"):
        options = {option.partition(":")[0]: option for option in found.options}
        for option in config.get("options") or []:
            value = option.get("value")
            options[option["name"]] = f"{option['name']}:{value}" if value else option["name"]
        found = Resolver(
            _unique((*found.servers, *(config.get("nameservers") or []))),
            _unique((*found.searches, *(config.get("searches") or []))),
            tuple(options.values()),
        )
    return Resolver(found.servers[:MAX_SERVERS], _fitting(found.searches), found.options)


def resolv_conf(resolver: Resolver) -> str:
    """The file."""
    text = f"search {' '.join(resolver.searches)}\n" if resolver.searches else ""
    text += "".join(f"nameserver {server}\n" for server in resolver.servers)
    return text + (f"options {' '.join(resolver.options)}\n" if resolver.options else "")


def host_name(pod: Body) -> str:
    """What `hostname` says in the pod."""
    spec = pod["spec"]
    name: str = spec.get("hostnameOverride") or spec.get("hostname") or pod["metadata"]["name"]
    return name if len(name) <= HOST_NAME_LENGTH else name[:HOST_NAME_LENGTH].rstrip("-.")


def host_domain(pod: Body, domain: str) -> str:
    """The domain behind the host name, "" for pods without `subdomain`."""
    spec = pod["spec"]
    if not spec.get("subdomain") or spec.get("hostnameOverride"):
        return ""
    return f"{spec['subdomain']}.{pod['metadata']['namespace']}.svc.{domain}"


def hosts_file(pod: Body, addresses: Iterable[str], domain: str) -> str:
    """/etc/hosts of a pod with a network of its own."""
    name, behind = host_name(pod), host_domain(pod, domain)
    names = f"{name}.{behind}\t{name}" if behind else name
    return _HOSTS + "".join(f"{address}\t{names}\n" for address in addresses) + _aliases(pod)


def hosts_file_of_node(pod: Body, node: str) -> str:
    """/etc/hosts of a pod on the node's network; `node` is the node's own file."""
    return "# Kubernetes-managed hosts file (host network).\n" + node + _aliases(pod)


def _aliases(pod: Body) -> str:
    aliases = pod["spec"].get("hostAliases") or []
    lines = [f"{one['ip']}\t" + "\t".join(one.get("hostnames") or []) + "\n" for one in aliases]
    return "\n# Entries added by HostAliases.\n" + "".join(lines) if lines else ""


def _unique(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))


def _fitting(searches: Sequence[str]) -> tuple[str, ...]:
    kept = [one for one in searches[:MAX_SEARCHES] if len(one) <= MAX_SEARCH_LENGTH]
    while len(" ".join(kept)) > MAX_SEARCH_CHARACTERS:
        kept.pop()
    return tuple(kept)
