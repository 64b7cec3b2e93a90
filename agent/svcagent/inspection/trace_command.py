"""`svcplane-agent trace`: which rules a packet would meet on a node, where it lands, and why if it does not.

The rules are the installed ones (root), or those computed from a file or the API server (`--rules computed`, which
`--file` implies). Names of Services come from the objects if there are any, else from the comments of the rules.
Nothing is sent, but for `--live`: there a real packet is followed by the kernel's own trace.
"""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Mapping
from ipaddress import ip_address

import msgspec

from svcagent import daemon, node
from svcagent.dialect import LOOPBACK
from svcagent.inspection import destinations, explain, live, sources, trace_report, wanted
from svcagent.inspection.destinations import Destination, UnknownServiceError, service_key
from svcagent.inspection.inventory import Inventory, LabelledPod, inventory
from svcagent.inspection.sources import SourceError
from svcagent.options import Options
from svcagent.resolve import NodeView, canonical_address
from svckube.access import Access
from svcnet import links, rules, trace
from svcnet.rules import FAMILIES, Family, Tables, family_of
from svcnet.trace import Host, Outcome, Packet
from svcnet.writers import Iptables, IptablesError

# Of the ranges for documentation (RFC 5737, RFC 3849): nobody's address.
OUTSIDE: dict[Family, str] = {"IPv4": "192.0.2.1", "IPv6": "2001:db8::1"}
PROTOCOLS = ("tcp", "udp", "sctp")


class Here(msgspec.Struct, frozen=True):
    """Where the packet is traced: a node, its rules of one family, and where these are from."""

    tables: Tables
    host: Host
    view: NodeView
    described: str


class Goal(msgspec.Struct, frozen=True):
    address: str
    port: int
    protocol: str
    described: str
    service: str = ""


class Sender(msgspec.Struct, frozen=True):
    """`interface` is "" for a process of the node itself."""

    address: str
    interface: str
    described: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes beside the flags of `run`, which shape computed rules and say where the node is."""
    parser.add_argument("destination", nargs="?", metavar="TO", help="as --to")
    parser.add_argument("--to", dest="to", metavar="SERVICE[:PORT]|IP:PORT", help="a port by number or name")
    parser.add_argument(
        "--from",
        dest="source",
        default="node",
        metavar="POD|IP|outside|node",
        help="who sends: a pod ([NAMESPACE/]NAME), an address, a host outside the cluster, the node (default)",
    )
    parser.add_argument("--protocol", choices=PROTOCOLS, help="(default: the Service's, else tcp)")
    parser.add_argument("--family", choices=FAMILIES, help="of a dual-stack Service (default: its first)")
    parser.add_argument("--in-interface", default="eth0", help="where a packet from elsewhere comes in (eth0)")
    parser.add_argument("--file", help="objects as `kubectl get svc,endpointslices,nodes,pods -o yaml` prints them")
    parser.add_argument(
        "--rules", choices=("installed", "computed"), help="(default: installed; with --file: computed)"
    )
    parser.add_argument("--live", action="store_true", help="follow a real packet, sent from here if the node sends")
    parser.add_argument("--wait", type=float, default=30.0, metavar="SECONDS", help="for a packet of --live (30)")
    parser.add_argument("--json", action="store_true", help="one JSON object in place of text")


def run(parsed: argparse.Namespace, chosen: Options) -> int:
    """Prints the trace. Exit status 1 if the file had bad objects, which were skipped."""
    if (parsed.to is None) == (parsed.destination is None):
        raise SourceError("say once where the packet goes: --to SERVICE[:PORT] or --to ADDRESS:PORT")
    if parsed.live and _computed(parsed):
        raise SourceError("--live follows a packet through installed rules, not through computed ones")
    objects, access, status = _objects(parsed, chosen)
    pod = _pod(parsed.source, objects, access)
    if pod is not None and objects is not None:
        objects = msgspec.structs.replace(objects, pods={**objects.pods, pod.key: pod})
    computed = _computed(parsed)
    view = _view(parsed, chosen, objects, pod, computed=computed)
    if not computed and chosen.netns:
        links.enter(chosen.netns)
    if parsed.live:
        _check_live(chosen)
    here, known, goal = _place(parsed, chosen, objects, view)
    if objects is not None and access is not None and goal.service:
        objects = _with_pods(objects, access, goal.service)
    holders = _holders(objects) if objects else {}
    sender, notes = _sender(parsed, chosen, here, goal, pod, holders)
    packet = Packet(sender.address, goal.address, goal.port, goal.protocol, sender.interface)
    outcomes: tuple[Outcome, ...]
    if parsed.live:
        packet, seen = live.seen(packet, parsed.source == "outside", here.tables, here.host, parsed.wait, _tell)
        outcomes = (seen,)
        here = msgspec.structs.replace(here, described=f"{here.described}, as the kernel met them")
    else:
        outcomes = tuple(trace.trace(here.tables, here.host, packet))
    question = explain.Question(packet, outcomes, here.host, here.view, tuple(known), objects)
    report = trace_report.Report(
        packet=packet,
        source=sender.described,
        destination=goal.described,
        rules=here.described,
        outcomes=outcomes,
        reasons=explain.reasons(question),
        notes=notes,
        holders=holders,
    )
    if parsed.json:
        print(trace_report.json(report).decode())
    else:
        print(trace_report.text(report), end="")
    return status


def _check_live(chosen: Options) -> None:
    if daemon.flavour_of(chosen.flavour) != "nft":
        raise SourceError("--live needs iptables-nft: the kernel's trace tells nothing of iptables-legacy's rules")


def _tell(line: str) -> None:
    print(f"svcplane-agent: {line}", file=sys.stderr)


def _computed(parsed: argparse.Namespace) -> bool:
    return parsed.rules == "computed" or (parsed.rules is None and parsed.file is not None)


# -- what is known of the cluster


def _objects(parsed: argparse.Namespace, chosen: Options) -> tuple[Inventory | None, Access | None, int]:
    """The objects, the API server they are from, and the exit status; no objects if only the rules are to be read."""
    if parsed.file is not None:
        found = sources.from_file(parsed.file)
        for line in (*found.notes, *found.problems):
            _tell(line)
        return inventory(found.objects), None, 1 if found.problems else 0
    if not _computed(parsed) and not chosen.kubeconfig and not chosen.master:
        return None, None, 0
    access = sources.access_of(chosen)
    return sources.from_api(access, _tell), access, 0


def _pod(source: str, objects: Inventory | None, access: Access | None) -> LabelledPod | None:
    """The pod that --from names; None if it names something else."""
    if source in ("node", "outside") or _is_address(source):
        return None
    if objects is None:
        raise SourceError(f"--from {source}: a pod is found by name with --kubeconfig or --file; or give its address")
    namespace, _, name = source.rpartition("/")
    pods = sources.pods_from_api(access, namespace or "default", _tell) if access else objects.pods
    wanted_key = f"{namespace or 'default'}/{name}"
    same = [key for key in pods if key == wanted_key or (not namespace and key.endswith(f"/{name}"))]
    if wanted_key in pods:
        return pods[wanted_key]
    if len(same) == 1:
        return pods[same[0]]
    near = destinations.nearest(wanted_key, pods)
    hint = f"; nearest: {', '.join(near)}" if near else f"; {len(pods)} pods are known"
    raise SourceError(f"--from: there is no pod {wanted_key!r}{hint}")


def _with_pods(objects: Inventory, access: Access, service: str) -> Inventory:
    """The pods that may tell why a Service has no endpoints: those beside it, and those that it would select."""
    selector = objects.services[service].spec.selector if service in objects.services else None
    pods = sources.pods_from_api(access, service.partition("/")[0], _tell)
    if selector and not objects.slices.get(service):
        pods |= sources.pods_selected(access, selector, _tell)
    return msgspec.structs.replace(objects, pods={**objects.pods, **pods})


def _holders(objects: Inventory) -> dict[str, str]:
    """Who has an address: `pod default/web-1 on node-a`."""
    found: dict[str, str] = {}
    for address, pod, on in objects.holders():
        words = " on ".join(word for word in (f"pod {pod}" if pod else "", on) if word)
        found[address] = max(words, found.get(address, ""), key=len)
    return found


# -- where, and to what


def _view(
    parsed: argparse.Namespace, chosen: Options, objects: Inventory | None, pod: LabelledPod | None, *, computed: bool
) -> NodeView:
    if objects is None:
        return NodeView(node.name(chosen.hostname_override))
    if computed and pod is not None and pod.spec.node_name and not chosen.hostname_override:
        return wanted.site(chosen, objects, pod.spec.node_name).view  # the rules that its packets meet
    name = sources.node_name(chosen, objects, _tell, only_one_counts=computed and parsed.file is not None)
    return wanted.site(chosen, objects, name).view


def _place(
    parsed: argparse.Namespace, chosen: Options, objects: Inventory | None, view: NodeView
) -> tuple[Here, list[Destination], Goal]:
    """The rules of the family that is meant, what they or the objects lead to, and the packet's goal."""
    to = parsed.to or parsed.destination
    families = _families(parsed, to)
    if objects is not None:
        known = destinations.of_inventory(objects, view)
        goal = _goal(to, _in(known, families), parsed.protocol, objects)
        family = family_of(goal.address)
        here = _as_computed(chosen, objects, view, family) if _computed(parsed) else _as_installed(chosen, family, view)
        return here, known, goal
    unknown: SourceError | None = None
    for family in families:
        here = _as_installed(chosen, family, view)
        known = destinations.of_rules(here.tables)
        try:
            return here, known, _goal(to, known, parsed.protocol, None)
        except SourceError as error:
            unknown = unknown or error
    raise unknown or SourceError(f"no family to trace {to} in")


def _families(parsed: argparse.Namespace, to: str) -> tuple[Family, ...]:
    """The families that the addresses and --family leave."""
    said = {parsed.family} if parsed.family else set()
    if _is_address(parsed.source):
        said.add(family_of(canonical_address(parsed.source)))
    address = _address_and_port(to)
    if address is not None:
        said.add(family_of(address[0]))
    if len(said) > 1:
        raise SourceError(f"--from {parsed.source}, {to} and --family are not all of one family")
    return tuple(said) or FAMILIES


def _in(known: list[Destination], families: tuple[Family, ...]) -> list[Destination]:
    return [each for each in known if not each.address or family_of(each.address) in families]


def _is_address(text: str) -> bool:
    try:
        canonical_address(text)
    except ValueError:
        return False
    return True


def _address_and_port(text: str) -> tuple[str, int] | None:
    """The parts of `IP:PORT` or `[IP]:PORT`; None if it is no such thing."""
    address, _, port = text.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65536 or not _is_address(address.strip("[]")):
        return None
    return canonical_address(address.strip("[]")), int(port)


def _goal(to: str, known: list[Destination], protocol: str | None, objects: Inventory | None) -> Goal:
    pair = _address_and_port(to)
    if pair is not None:
        meant = [each for each in known if each.address in ("", pair[0]) and each.port == pair[1]]
        meant.sort(key=lambda each: (not each.address, each.protocol != "tcp"))
        chosen = protocol or (meant[0].protocol if meant else "tcp")
        mine = next((each for each in meant if each.protocol == chosen), None)
        described = f"{mine.service}{f' {mine.port_name}' if mine.port_name else ''} {mine.kind}" if mine else ""
        return Goal(*pair, chosen, described, mine.service if mine else "")
    if _is_address(to):
        raise SourceError(f"--to {to} has no port: write {to}:80" + (" as [address]:80" if ":" in to else ""))
    word, _, port = to.partition(":")
    try:
        key = service_key(word, {each.service for each in known} | (objects.services.keys() if objects else set()))
    except UnknownServiceError as error:
        raise SourceError(str(error)) from error
    mine_all = [each for each in known if each.service == key]
    # Its cluster IP if that is known, else whatever address the rules tell.
    mine_all = [each for each in mine_all if each.kind == "cluster IP"] or [each for each in mine_all if each.address]
    if not mine_all:
        raise SourceError(_without_address(key, objects))
    return _of_service(key, port, mine_all, protocol, objects)


def _without_address(key: str, objects: Inventory | None) -> str:
    spec = objects.services[key].spec if objects and key in objects.services else None
    if spec is not None and spec.type == "ExternalName":
        return f"Service {key} is of type ExternalName: DNS answers {spec.external_name!r}, and no rule is involved"
    if spec is not None and spec.cluster_ip == "None":
        return f"Service {key} is headless: DNS answers its pods' addresses, and no rule is involved"
    return f"Service {key} has no cluster IP of this family"


def _of_service(key: str, port: str, mine: list[Destination], protocol: str | None, objects: Inventory | None) -> Goal:
    """The destination of a Service that PORT (number, name or nothing) means."""
    spec = objects.services[key].spec if objects and key in objects.services else None
    first = family_of(spec.cluster_ip) if spec and spec.cluster_ip else family_of(mine[0].address)
    mine = [each for each in mine if family_of(each.address) == first] or mine
    ports = ", ".join(dict.fromkeys(each.port_text for each in mine))
    found = [
        each for each in mine if port in ("", str(each.port), each.port_name) and protocol in (None, each.protocol)
    ]
    if not port and len({(each.port, each.protocol) for each in found}) > 1:
        raise SourceError(f"Service {key} has several ports: choose one with {key}:PORT ({ports})")
    if not found:
        if not port.isdecimal() or not 0 < int(port) < 65536:
            raise SourceError(f"Service {key} has no port {port!r}; it has {ports}")
        return Goal(mine[0].address, int(port), protocol or mine[0].protocol, f"{key}, not one of its ports", key)
    best = min(found, key=lambda each: each.protocol != "tcp")
    named = f" {best.port_name}" if best.port_name else ""
    return Goal(best.address, best.port, best.protocol, f"{key}{named} {best.kind}", key)


# -- where rules are from


def _as_computed(chosen: Options, objects: Inventory, view: NodeView, family: Family) -> Here:
    where = wanted.site(chosen, objects, view.name)
    result = wanted.wanted(objects, where, family)
    return Here(result.tables, Host(where.addresses), view, f"{family}, computed for node {view.name}")


def _as_installed(chosen: Options, family: Family, view: NodeView) -> Here:
    iptables = Iptables(family, daemon.flavour_of(chosen.flavour))
    try:
        tables = rules.parse(iptables.dump())
    except IptablesError as error:
        hint = "root reads the installed rules; anybody has them computed, with --file or --rules computed"
        raise SourceError(f"{error}; {hint}") from error
    place = f" in {chosen.netns}" if chosen.netns else ""
    return Here(tables, Host(links.local_addresses()), view, f"{family}, installed here{place} ({iptables.command()})")


# -- who sends


def _sender(
    parsed: argparse.Namespace,
    chosen: Options,
    here: Here,
    goal: Goal,
    pod: LabelledPod | None,
    holders: Mapping[str, str],
) -> tuple[Sender, tuple[str, ...]]:
    """The sender, and what is to be said about that."""
    family = family_of(goal.address)
    if pod is not None:
        return _sending_pod(chosen, here, family, pod, parsed.in_interface)
    if parsed.source == "outside":
        return Sender(OUTSIDE[family], parsed.in_interface, "outside the cluster"), ()
    if parsed.source == "node":
        return Sender(_own_address(here, goal, computed=_computed(parsed)), "", "the node itself"), ()
    address = canonical_address(parsed.source)
    if here.host.is_local(address):
        return Sender(address, "", "the node itself"), ()
    return Sender(address, parsed.in_interface, holders.get(address, "as given")), ()


def _sending_pod(
    chosen: Options, here: Here, family: Family, pod: LabelledPod, in_interface: str
) -> tuple[Sender, tuple[str, ...]]:
    address = next((each for each in pod.addresses if family_of(each) == family), "")
    if not address:
        raise SourceError(f"pod {pod.key} has no {family} address (it is {pod.status.phase or 'Pending'})")
    if here.host.is_local(address):
        return Sender(address, "", f"pod {pod.key}, in the node's own network"), ()
    on = pod.spec.node_name
    notes: tuple[str, ...] = ()
    interface = in_interface
    if on and on != here.view.name:
        notes = (f"pod {pod.key} runs on {on}: its packets to Services meet the rules of that node, not these",)
    elif chosen.detect_local_mode == "BridgeInterface":
        interface = chosen.pod_bridge_interface
    elif chosen.detect_local_mode == "InterfaceNamePrefix":
        interface = f"{chosen.pod_interface_name_prefix}0"
    return Sender(address, interface, f"pod {pod.key}"), notes


def _own_address(here: Here, goal: Goal, *, computed: bool) -> str:
    """The address that a process of the node sends from: as routing chooses it, or the node's first."""
    family = family_of(goal.address)
    if ip_address(goal.address).is_loopback:
        return LOOPBACK[family]
    if not computed:
        return _routed_from(goal.address, family)
    own = sorted(each for each in here.host.addresses if family_of(each) == family and not ip_address(each).is_loopback)
    return own[0] if own else LOOPBACK[family]


def _routed_from(address: str, family: Family) -> str:
    """The source address for a destination. Connecting a UDP socket asks the routes and sends nothing."""
    with socket.socket(socket.AF_INET6 if family == "IPv6" else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))
        except OSError:  # no route, or the family is off
            return LOOPBACK[family]
        return canonical_address(str(probe.getsockname()[0]))
