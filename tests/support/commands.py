"""The agent's commands that look, called as its command line calls them; and the flow table's objects as a file."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from support.flows import BACKEND, BACKEND6, NODE, NODE6, NODE_NAME, OBJECTS, ON_NODE, PODS, PODS6, Manifest
from svcagent.inspection import rules_command, status_command, trace_command
from svcagent.options import add_flags, options


def rules(*argv: str) -> int:
    return _with_options(rules_command, argv)


def trace(*argv: str) -> int:
    return _with_options(trace_command, argv)


def status(*argv: str) -> int:
    parser = argparse.ArgumentParser()
    status_command.add_arguments(parser)
    return status_command.run(parser.parse_args(argv))


def _with_options(command: ModuleType, argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    command.add_arguments(parser)
    parsed = parser.parse_args(argv)
    run: Callable[..., int] = command.run
    return run(parsed, options(parsed))


def node(name: str, *addresses: str) -> Manifest:
    told = [{"type": "InternalIP", "address": each} for each in addresses]
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": {"addresses": told}}


def pod(
    name: str, labels: dict[str, str], *ips: str, namespace: str = "flows", on: str = NODE_NAME, ready: bool = True
) -> Manifest:
    """A running Pod; one without addresses is pending."""
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"nodeName": on},
        "status": {
            "phase": "Running" if ips else "Pending",
            "podIPs": [{"ip": each} for each in ips],
            "conditions": conditions,
        },
    }


TABLE: list[Manifest] = [
    *OBJECTS,
    node("node", NODE, NODE6),
    node("backend", BACKEND, BACKEND6),
    *(pod(name, {"app": name}, PODS[name], PODS6[name], on=ON_NODE[name]) for name in PODS),
]
"""The flow table's cluster, with its nodes and pods."""


def written(folder: Path, objects: Sequence[Manifest], name: str = "objects.json") -> str:
    """The path of a file that holds a List of these objects."""
    file = folder / name
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}, indent=2))
    return str(file)
