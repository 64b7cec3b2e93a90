"""The command svcplane-agent: `run` as a daemon, `trace` a packet, `cleanup` what was written.

Exit status: 0 done, 1 failed (one line says why and what to try), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import queue
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from http import HTTPStatus

import msgspec

from svcagent import names, node, patch, sync
from svcagent.metrics import Metrics
from svcagent.options import Options, OptionsError, add_flags, options
from svckube import observe, reflector
from svckube.access import Access, AccessError, from_kubeconfig, in_cluster
from svcnet import links, rules, trace, writers
from svcnet.links import NamespaceError
from svcnet.rules import FAMILIES
from svcnet.writers import Flavour, Iptables, IptablesError


class StartError(Exception):
    """The agent cannot work here; the message says why and what to try."""


def main(argv: Sequence[str] | None = None) -> int:
    """The entry point; `argv` without the program's name."""
    parser = _parser()
    parsed = parser.parse_args(argv)
    try:
        done: int = parsed.command(parsed)
    except OptionsError as error:
        parser.error(str(error))
    except (AccessError, IptablesError, NamespaceError, StartError, OSError) as error:
        print(f"svcplane-agent: {error}", file=sys.stderr)
        return 1
    return done


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="svcplane-agent", description="Kubernetes Services on one node.")
    commands = parser.add_subparsers(required=True, metavar="run | trace | cleanup")
    command = commands.add_parser("run", help="watch the API server and program this node")
    add_flags(command)
    command.set_defaults(command=_run)
    command = commands.add_parser("trace", help="which rules a packet would meet on this node, and where it lands")
    command.add_argument("destination", help="ADDRESS:PORT, IPv6 in brackets")
    command.add_argument("--from", dest="source", default="", help="source address (default: this host itself)")
    command.add_argument("--protocol", choices=("tcp", "udp", "sctp"), default="tcp")
    command.add_argument("--in-interface", default="eth0", help="where a packet with --from comes in (eth0)")
    _add_place(command)
    command.set_defaults(command=_trace)
    command = commands.add_parser("cleanup", help="remove every chain and jump that the agent (or kube-proxy) wrote")
    _add_place(command)
    command.set_defaults(command=_cleanup)
    return parser


def _add_place(command: argparse.ArgumentParser) -> None:
    command.add_argument("--netns", default="", help="network namespace, a name or a path (default: where it runs)")
    command.add_argument("--iptables-flavour", dest="flavour", choices=("auto", "nft", "legacy"), default="auto")


def _enter(namespace: str) -> None:
    if namespace:
        links.enter(namespace)


def _flavour(wanted: str) -> Flavour:
    if wanted == "auto":
        return writers.detect(names.HINT_CHAINS)
    return "nft" if wanted == "nft" else "legacy"


def _families(flavour: Flavour) -> list[Iptables]:
    """The families whose nat table works here. IPv4 must."""
    found = [each for each in (Iptables(family, flavour) for family in FAMILIES) if each.works()]
    if not found or found[0].family != "IPv4":
        Iptables("IPv4", flavour).run("-t", "nat", "-S", "POSTROUTING")  # raises with iptables' own words
        raise StartError("the IPv4 nat table cannot be read: is this root, with CAP_NET_ADMIN?")
    return found


def _run(parsed: argparse.Namespace) -> int:
    chosen = options(parsed)
    observe.log_to(sys.stderr, as_json=chosen.log_format == "json")
    access = in_cluster() if not (chosen.kubeconfig or chosen.master) else _access(chosen)
    inbox: sync.Inbox = queue.SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: inbox.put(sync.Stop()))
    name = node.name(chosen.hostname_override)
    with ExitStack() as closing:
        # The threads that talk to the API server start first: they stay in the namespace where this program began.
        for watched in _reflectors(access, name, inbox.put):
            watched.start()
            closing.callback(watched.stop)
        _enter(chosen.netns)
        _work(chosen, name, inbox, closing)
    return 0


def _access(chosen: Options) -> Access:
    return from_kubeconfig(chosen.kubeconfig, server=chosen.master)


def _reflectors(access: Access, name: str, deliver: Callable[[reflector.Batch], None]) -> list[reflector.Reflector]:
    """With kube-proxy's selectors: what another proxy serves and what has no cluster IP is not even sent to us."""
    replace = msgspec.structs.replace
    resources = (
        replace(
            reflector.SERVICES,
            label_selector="!service.kubernetes.io/service-proxy-name",
            field_selector="spec.clusterIP!=None",
        ),
        replace(reflector.ENDPOINT_SLICES, label_selector="!service.kubernetes.io/headless"),
        replace(reflector.NODES, field_selector=f"metadata.name={name}"),
    )
    return [reflector.Reflector(access, resource, deliver) for resource in resources]


def _work(chosen: Options, name: str, inbox: sync.Inbox, closing: ExitStack) -> None:
    flavour = _flavour(chosen.flavour)
    for failure in node.set_sysctls(chosen):
        sync.log.warning("left as it is", extra=observe.fields(problem=failure))
    registry = observe.registry()
    metrics = Metrics(registry)
    agent = sync.Agent(chosen, name, _families(flavour), metrics)
    routes: dict[str, dict[str, observe.Route]] = {
        chosen.healthz_bind_address: {
            "/healthz": lambda: _probe(metrics, "healthz", agent.healthz()),
            "/livez": lambda: _probe(metrics, "livez", agent.livez()),
        },
        chosen.metrics_bind_address: {
            "/metrics": observe.exposition(registry),
            "/healthz": lambda: (HTTPStatus.OK, observe.TEXT, b"ok"),
            "/proxyMode": lambda: (HTTPStatus.OK, observe.TEXT, b"iptables", {"X-Content-Type-Options": "nosniff"}),
        },
    }
    for address, answers in routes.items():
        if address:
            closing.callback(observe.serve(address, answers).close)
    sync.log.info("started", extra=observe.fields(node=name, iptables=flavour, netns=chosen.netns))
    agent.run(inbox)


def _probe(metrics: Metrics, path: str, answer: tuple[int, bytes]) -> observe.Answer:
    status, body = answer
    metrics.probes[path].labels(str(status)).inc()
    return status, "application/json", body, {"X-Content-Type-Options": "nosniff"}


def _trace(parsed: argparse.Namespace) -> int:
    address, _, port = parsed.destination.rpartition(":")
    if not address or not port.isdecimal():
        raise StartError(f"{parsed.destination!r} is not ADDRESS:PORT")
    address = address.strip("[]")
    _enter(parsed.netns)
    iptables = Iptables("IPv6" if ":" in address else "IPv4", _flavour(parsed.flavour))
    addresses = links.local_addresses()
    packet = trace.Packet(
        source=parsed.source or ("::1" if ":" in address else "127.0.0.1"),
        destination=address,
        port=int(port),
        protocol=parsed.protocol,
        in_interface=parsed.in_interface if parsed.source else "",
    )
    for outcome in trace.trace(rules.parse(iptables.dump()), trace.Host(addresses), packet):
        print(trace.sentence(outcome))
        for step in outcome.steps:
            print(f"    {step}")
    return 0


def _cleanup(parsed: argparse.Namespace) -> int:
    _enter(parsed.netns)
    flavour = _flavour(parsed.flavour)
    for iptables in (Iptables(family, flavour) for family in FAMILIES):
        if iptables.works():
            text = patch.removal(iptables.dump())
            if text:
                iptables.restore(text)
    return 0
