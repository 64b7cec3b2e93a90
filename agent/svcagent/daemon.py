"""The agent as a daemon: its parts put together and run until a signal.

In: `Options`. Out: threads that watch the API server and the kernel, HTTP servers, and the loop in `sync` that all of
them tell. The order matters where a network namespace is entered: threads that talk to the API server start before, so
that they stay outside; everything made later belongs to the node.
"""

from __future__ import annotations

import gc
import platform
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from http import HTTPStatus
from importlib import metadata

from svcagent import (
    audit,
    configuration,
    conflict,
    listening,
    messages,
    node,
    rivals,
    served,
    status,
    sync,
    writing,
    zpages,
)
from svcagent.dialect import dialect
from svcagent.events import Events, Happening
from svcagent.metrics import ConntrackTotals, Metrics, PacketCounters, Pings, ReflectorCounters, RestClient
from svcagent.options import Options
from svckube import memory, observe, reflector
from svckube.access import Access, from_kubeconfig, in_cluster
from svckube.systemd import Unit
from svcnet import links, notices, writers
from svcnet.rules import FAMILIES
from svcnet.writers import Flavour, Iptables

NO_SNIFF = {"X-Content-Type-Options": "nosniff"}


class StartError(Exception):
    """The agent cannot work here; the message says why and what to try."""


def enter(namespace: str) -> None:
    """Moves this thread into a network namespace; "" stays."""
    if namespace:
        links.enter(namespace)


def flavour_of(wanted: str) -> Flavour:
    """The flavour of --iptables-flavour; `auto` is what this host uses."""
    if wanted == "auto":
        return writers.detect()
    return "nft" if wanted == "nft" else "legacy"


def _families(flavour: Flavour) -> list[Iptables]:
    """The families whose nat table works here. IPv4 must."""
    found = [each for each in (Iptables(family, flavour) for family in FAMILIES) if each.works()]
    if not found or found[0].family != "IPv4":
        Iptables("IPv4", flavour).run("-t", "nat", "-S", "POSTROUTING")  # raises with iptables' own words
        raise StartError("the IPv4 nat table cannot be read: is this root, with CAP_NET_ADMIN?")
    return found


def _writer(chosen: Options, iptables: Iptables) -> writing.Writer:
    shape = dialect(
        chosen,
        iptables.family,
        None,
        (),
        random_fully=iptables.random_fully(),
        drop_invalid=True,
        accounting=False,
    )
    try:
        return writing.chosen(chosen.writer, iptables, shape)
    except writing.WritingError as error:
        raise StartError(str(error)) from error


def run(chosen: Options, inbox: messages.Inbox, unit: Unit) -> None:
    """Works until SIGTERM, SIGINT, or a `Stop` in the inbox. The rules stay. `unit` is what systemd is told through."""
    # Rules and objects hold no circles: looking for some at every 700th costs a fifth of a start with many services.
    gc.set_threshold(50_000, 20, 20)
    memory.keep_together()
    access = in_cluster() if not (chosen.kubeconfig or chosen.master) else _access(chosen)
    registry = observe.registry()
    access.told = RestClient(registry).answered
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: inbox.put(messages.Stop()))
    name = node.name(chosen.hostname_override)
    with ExitStack() as closing:
        # The threads that talk to the API server start first: they stay in the namespace where this program began.
        watched = _reflectors(access, name, inbox.put)
        for each in watched.values():
            each.start()
            closing.callback(each.stop)
        enter(chosen.netns)
        for collector in (ReflectorCounters(watched.items()), PacketCounters(), ConntrackTotals()):
            registry.register(collector)
        _work(chosen, name, inbox, Events(access, name), registry, unit, closing)


def _access(chosen: Options) -> Access:
    return from_kubeconfig(chosen.kubeconfig, server=chosen.master)


def _reflectors(
    access: Access, name: str, deliver: Callable[[reflector.Batch], None]
) -> dict[str, reflector.Reflector]:
    resources = (served.SERVICES, served.SLICES, served.own_node(name))
    return {resource.path: reflector.Reflector(access, resource, deliver) for resource in resources}


def set_up(chosen: Options) -> int:
    """What the options want of the kernel beside rules; what cannot be had is a warning. Returns how much that was."""
    failures = (*node.set_sysctls(chosen), *node.set_oom_score(chosen.oom_score_adj))
    for failure in failures:
        sync.log.warning("left as it is", extra=observe.fields(problem=failure))
    return len(failures)


def _rival(chosen: Options) -> str:
    """Who else programs Services in this thread's namespace, and what to do about it; "" if nobody that matters."""
    found = None if chosen.beside_kube_proxy else rivals.look()
    return conflict.sentence(found) if found else ""


def _work(
    chosen: Options,
    name: str,
    inbox: messages.Inbox,
    events: Events,
    registry: observe.Registry,
    unit: Unit,
    closing: ExitStack,
) -> None:
    if rival := _rival(chosen):
        raise StartError(rival)
    flavour = flavour_of(chosen.flavour)
    configz = configuration.configz(chosen)
    metrics = Metrics(registry)
    metrics.unset.set(set_up(chosen))
    families = [_writer(chosen, each) for each in _families(flavour)]
    for following in (
        notices.rule_changes(lambda *commit: inbox.put(messages.RulesChanged(*commit))),
        notices.address_changes(lambda _: inbox.put(messages.AddressesChanged())),
    ):
        closing.callback(following.close)
    pings, began = Pings(), time.time()
    agent = sync.Agent(
        chosen,
        name,
        families,
        metrics,
        announce=events.announce,
        rival=lambda: _rival(chosen),
        beside=audit.beside(inbox.put),
    )
    closing.callback(agent.close)
    routes: dict[str, dict[str, observe.Route]] = {
        chosen.healthz_bind_address: {
            "/healthz": lambda: _probe(metrics, "healthz", agent.healthz()),
            "/livez": lambda: _probe(metrics, "livez", agent.livez()),
        },
        chosen.metrics_bind_address: {
            "/metrics": observe.exposition(registry),
            "/metrics/slis": observe.exposition(pings.registry),
            "/healthz": lambda: _ping(pings),
            "/healthz/ping": lambda: (HTTPStatus.OK, observe.TEXT, b"ok"),
            "/flagz": lambda: (HTTPStatus.OK, observe.TEXT, zpages.flagz(chosen), NO_SNIFF),
            "/statusz": lambda: (HTTPStatus.OK, observe.TEXT, _statusz(began), NO_SNIFF),
            "/proxyMode": lambda: (HTTPStatus.OK, observe.TEXT, b"iptables", NO_SNIFF),
            status.PATH: lambda: (HTTPStatus.OK, "application/json", status.body(agent.status()), NO_SNIFF),
            "/configz": lambda: (HTTPStatus.OK, "application/json", configz, NO_SNIFF),
        },
    }
    for address, answers in routes.items():
        if address:
            listener = listening.listen(address, answers, hard_fail=chosen.bind_address_hard_fail)
            closing.callback(listener.close)
    events.announce(Happening("Normal", "Starting", "StartAgent", "", ("Node", "", name)))
    ways = ",".join(each.way for each in families)
    sync.log.info("started", extra=observe.fields(node=name, iptables=flavour, writers=ways, netns=chosen.netns))
    unit.waiting("waiting for the API server to list Services, EndpointSlices and this Node")
    agent.run(inbox, unit)


STATUSZ_PATHS = ("/configz", "/flagz", "/healthz", "/metrics", "/proxyMode")


def _statusz(began: float) -> bytes:
    version = metadata.version("svcplane")
    return zpages.statusz(began, time.time(), platform.python_version(), version, STATUSZ_PATHS)


def _ping(pings: Pings) -> observe.Answer:
    """What the metrics server says of itself: that it is there."""
    pings.answered()
    return HTTPStatus.OK, observe.TEXT, b"ok", NO_SNIFF


def _probe(metrics: Metrics, path: str, answer: tuple[int, bytes]) -> observe.Answer:
    code, body = answer
    metrics.probes[path].labels(str(code)).inc()
    return code, "application/json", body, NO_SNIFF
