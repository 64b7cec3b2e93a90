"""Why a packet to a Service ends where it does: the reason behind the rule that stopped it.

In: a `Question`: the packet and the outcomes of its trace, where the rules stand, what can be connected to, and the
objects if they are known. Out: `Reason` values, most telling first; none for a packet that arrives. Without objects
there are fewer reasons: the rules' comments say that there are no endpoints, but not why.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

import msgspec

from svcagent.inspection.destinations import Destination, meant
from svcagent.inspection.inventory import Inventory, LabelledPod, SelectingService
from svcagent.inspection.near_miss import near_misses, selected, sentence
from svcagent.resolve import NodeView, ResolvedPort, resolve
from svckube.objects import Endpoint, EndpointSlice
from svcnet.rules import Comment, Family, family_of
from svcnet.trace import Host, Outcome, Packet

SHOWN = 3


class Reason(msgspec.Struct, frozen=True):
    """`code` is one word for programs, such as NoEndpoints; `message` a sentence for people."""

    code: str
    message: str


class Question(msgspec.Struct, frozen=True):
    """What was traced. `objects` is None where only the rules are known."""

    packet: Packet
    outcomes: tuple[Outcome, ...]
    host: Host
    node: NodeView
    destinations: tuple[Destination, ...]
    objects: Inventory | None = None

    @property
    def family(self) -> Family:
        return family_of(self.packet.destination)

    @property
    def translated(self) -> bool:
        """Whether some outcome has another destination than the packet: a Service's rules took it."""
        sent = (self.packet.destination, self.packet.port)
        return any((each.destination, each.port) != sent for each in self.outcomes)

    @property
    def arrives(self) -> bool:
        return all(each.verdict == "ACCEPT" for each in self.outcomes)


def reasons(question: Question) -> tuple[Reason, ...]:
    """Why the packet does not reach an endpoint; empty if all of its outcomes do."""
    if question.arrives and question.translated:
        return ()
    packet = question.packet
    candidates = tuple(meant(question.destinations, packet.destination, packet.port, packet.protocol))
    direct = next((each for each in candidates if each.address), None)
    by_node_port = next((each for each in candidates if not each.address), None)
    if direct is None and by_node_port is not None and not question.host.is_local(packet.destination):
        found = _no_destination(question) or (_foreign_node_port(question, by_node_port),)
        return (*found, *_last_words(question))
    goal = direct or by_node_port
    if goal is None:
        return _no_destination(question) or (_unknown(question), *_last_words(question))
    return tuple(_stopped(question, goal)) or _last_words(question)


# -- no Service is there


def _no_destination(question: Question) -> tuple[Reason, ...]:
    """A Service's address with a port or protocol that it does not have; nothing if the address is no Service's."""
    packet = question.packet
    at_address = [each for each in question.destinations if each.address == packet.destination]
    if not at_address:
        return ()
    service = at_address[0].service
    here = sorted({each for each in at_address if each.service == service}, key=lambda each: each.port)
    has = ", ".join(dict.fromkeys(each.port_text for each in here))
    other = [each for each in here if each.port == packet.port]
    if other:
        text = f"port {packet.port} of Service {service} is {other[0].port_text}, not {packet.protocol.upper()}"
        return (Reason("WrongProtocol", text),)
    text = f"Service {service} has no port {packet.port}/{packet.protocol.upper()}; it has {has}"
    return (Reason("WrongPort", text + _confused(question, service)),)


def _confused(question: Question, service: str) -> str:
    """The port asked for exists, but it is another kind of port."""
    number = question.packet.port
    if any(each.service == service and not each.address and each.port == number for each in question.destinations):
        return f". {number} is its node port: use it with a node's address"
    slices = question.objects.slices.get(service, ()) if question.objects else ()
    if any(port.port == number for each in slices for port in each.ports or ()):
        return f". {number} is what its pods listen on (targetPort)"
    return ""


def _foreign_node_port(question: Question, goal: Destination) -> Reason:
    text = f"{goal.port} is the node port of Service {goal.service}, but {question.packet.destination}"
    return Reason("NotANodeAddress", f"{text} is no address of node {question.node.name or 'this host'}")


def _unknown(question: Question) -> Reason:
    packet = question.packet
    address = packet.destination
    pod = next((each for each in question.objects.holders() if each[0] == address), None) if question.objects else None
    if pod is not None:
        text = f"{address} is {f'pod {pod[1]}' if pod[1] else 'an endpoint'} itself: no Service stands in between"
        return Reason("PodAddress", text)
    if question.host.is_local(address):
        ports = sorted({each.port for each in question.destinations if not each.address})
        near = [port for port in ports if abs(port - packet.port) <= SHOWN]
        hint = f"; nearest: {', '.join(map(str, near))}" if near else ""
        text = f"{address} is this node's own address, and no Service has {packet.protocol.upper()} node port"
        return Reason("NoSuchNodePort", f"{text} {packet.port}{hint}")
    return Reason("NoSuchService", f"no Service has the address {address}; {_known(question)}")


def _known(question: Question) -> str:
    count = len({each.service for each in question.destinations})
    return f"the {count} known ones have others" if count else "there are no rules of Services here at all"


# -- a Service is there, and the packet does not get through


def _stopped(question: Question, goal: Destination) -> Iterator[Reason]:
    dead = next((each for each in question.outcomes if each.verdict != "ACCEPT"), None)
    service = question.objects.services.get(goal.service) if question.objects else None
    if service is None or question.objects is None:
        if dead is None:
            yield _not_taken(question, goal)
        return
    slices = question.objects.slices.get(goal.service, ())
    port = next(
        (
            each
            for each in resolve(service, slices, question.family, question.node).ports
            if each.name.partition(":")[2] == goal.port_name and each.protocol == goal.protocol
        ),
        None,
    )
    if port is None:
        return
    if dead is None:
        yield _not_taken(question, goal)
        return
    if not port.endpoints.known:
        yield from _no_endpoints(question, service, slices, port)
        return
    local = port.internal_local if goal.kind == "cluster IP" else port.external_local
    if local and not port.endpoints.local:
        yield _local_policy(question, goal, slices, port)
    elif goal.kind == "loadbalancer IP" and port.source_ranges and not _admitted(question.packet.source, port):
        ranges = ", ".join(port.source_ranges)
        yield Reason("SourceRanges", f"{question.packet.source} is not in loadBalancerSourceRanges: {ranges}")
    else:
        text = f"Service {goal.service} has endpoints, but the rules here refuse or drop: they are behind the objects"
        yield Reason("NotProgrammed", f"{text}, or somebody else's")


def _not_taken(question: Question, goal: Destination) -> Reason:
    if goal.kind == "node port":
        text = f"node port {goal.port} of Service {goal.service} is not served on {question.packet.destination}"
        return Reason("NodePortNotServed", f"{text}: see --nodeport-addresses and --iptables-localhost-nodeports")
    text = f"{question.packet.destination} is the {goal.kind} of Service {goal.service}, but no rule here takes it"
    return Reason("NotProgrammed", f"{text}: is an agent (or kube-proxy) running on this node?")


def _admitted(source: str, port: ResolvedPort) -> bool:
    address = ipaddress.ip_address(source)
    return any(address in ipaddress.ip_network(each) for each in port.source_ranges)


def _of_port(slices: Iterable[EndpointSlice], port: ResolvedPort, family: Family) -> Iterator[Endpoint]:
    name = port.name.partition(":")[2]
    for each in slices:
        if each.address_type == family and any(
            found.name == name and (found.protocol or "TCP").lower() == port.protocol for found in each.ports or ()
        ):
            yield from each.endpoints or ()


def _local_policy(question: Question, goal: Destination, slices: Iterable[EndpointSlice], port: ResolvedPort) -> Reason:
    policy = "internalTrafficPolicy" if goal.kind == "cluster IP" else "externalTrafficPolicy"
    usable = [each for each in _of_port(slices, port, question.family) if each.conditions.ready is not False]
    nodes = sorted({each.node_name or "?" for each in usable if each.node_name != question.node.name})
    here = any(each.node_name == question.node.name for each in _of_port(slices, port, question.family))
    text = f"{policy}: Local, and Service {port.name} has no {'ready ' if here else ''}endpoint on node"
    elsewhere = f"; it has on {_some(nodes)}" if nodes else ""
    return Reason("LocalPolicy", f"{text} {question.node.name}{elsewhere}")


def _no_endpoints(
    question: Question, service: SelectingService, slices: tuple[EndpointSlice, ...], port: ResolvedPort
) -> Iterator[Reason]:
    family = question.family
    unready = list(_of_port(slices, port, family))
    if unready:
        yield Reason(
            "NotReady", f"Service {port.name}: no endpoint is ready: {_some(_state(each) for each in unready)}"
        )
        return
    of_family = [each for each in slices if each.address_type == family and each.endpoints]
    if of_family:
        other = sorted({str(found.name or "(unnamed)") for each in of_family for found in each.ports or ()})
        text = f"Service {port.name}: its endpoints have no port of this name and protocol, only {_some(other)}"
        yield Reason("NoSuchTargetPort", f"{text}: does a container have the named targetPort?")
        return
    selector = service.spec.selector
    if not selector:
        text = f"Service {service.key} has no selector and no {family} endpoints"
        yield Reason("NoEndpoints", f"{text}: an EndpointSlice for it is to be made by hand")
        return
    wanted = ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
    yield Reason("NoEndpoints", f"Service {service.key} has no {family} endpoints; its selector is {wanted}")
    if question.objects is not None:
        yield from _pods_of(service, selector, question.objects, family)


def _pods_of(
    service: SelectingService, selector: dict[str, str], objects: Inventory, family: Family
) -> Iterator[Reason]:
    namespace = service.metadata.namespace
    inside = [pod for pod in objects.pods.values() if pod.metadata.namespace == namespace]
    matching = [pod for pod in inside if selected(selector, pod)]
    if matching:
        yield Reason("PodsNotReady", f"pods with these labels: {_some(_pod_state(each, family) for each in matching)}")
        return
    near = near_misses(selector, inside)
    for miss in near[:SHOWN]:
        yield Reason("NearMiss", sentence(miss))
    away = sorted(pod.key for pod in objects.pods.values() if selected(selector, pod))
    if away:
        text = f"pods with these labels are in another namespace: {_some(away)}"
        yield Reason("OtherNamespace", f"{text}; a Service selects in its own")
    elif not near and objects.pods:
        yield Reason("NoSuchPods", f"none of the {len(inside)} pods in {namespace} has labels like these")


def _state(endpoint: Endpoint) -> str:
    who = endpoint.target_ref.name if endpoint.target_ref else (endpoint.addresses or ("?",))[0]
    terminating = endpoint.conditions.terminating is True
    return f"{who} is {'terminating' if terminating else 'not ready'}"


def _pod_state(pod: LabelledPod, family: Family) -> str:
    if pod.ended:
        state = f"ended ({pod.status.phase})"
    elif not any(family_of(each) == family for each in pod.addresses):
        state = f"without an {family} address ({pod.status.phase or 'Pending'})"
    elif pod.ready:
        state = "ready: its EndpointSlice is missing or late"
    else:
        state = f"not ready ({pod.status.phase})"
    return f"{pod.metadata.name} is {state}"


def _some(words: Iterable[str]) -> str:
    found = list(words)
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(found[:SHOWN]) + more


def _last_words(question: Question) -> tuple[Reason, ...]:
    """What the comment of the rule says that stopped the packet: all there is without objects."""
    for outcome in question.outcomes:
        if outcome.verdict == "ACCEPT" or not outcome.steps:
            continue
        last = outcome.steps[-1]
        text = next((each.text for each in last.rule.matches if isinstance(each, Comment)), "it says nothing")
        where = f"{last.table} {last.chain} rule {last.number}"
        hint = "" if question.objects else "; with --kubeconfig or --file the reason behind it is told"
        return (Reason("Rule", f"{where} stops it: {text}{hint}"),)
    return ()
