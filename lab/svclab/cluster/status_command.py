"""`svcplane-lab status`: nodes, daemons, addresses, and what to type. Exit status 1 if something does not run."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from typing import Any

from svclab import processes
from svclab.cluster import launching, places
from svclab.cluster.api import Api, ApiError, is_ready
from svclab.cluster.daemons import daemons
from svclab.cluster.state import Lab
from svclab.cluster.up_command import next_steps


def configure(parser: argparse.ArgumentParser) -> None:
    places.add_flags(parser)
    parser.add_argument("--json", action="store_true", help="the same as data")


def run(parsed: argparse.Namespace) -> int:
    lab = places.asked(parsed)
    found = status(lab)
    print(json.dumps(found, indent=2) if parsed.json else "\n".join(_shown(lab, found)))
    return 0 if found["healthy"] else 1


def status(lab: Lab) -> dict[str, Any]:
    """What runs. A node that is switched off is as it should be."""
    plan = lab.plan
    listed = [("supervisor", "", "")] + [(each.name, each.host, each.node) for each in daemons(plan, str(lab.folder))]
    off = {node for node in plan.node_names if lab.off(node).exists()}
    running = [_daemon(lab, name, host) for name, host, _ in listed]
    nodes, trouble = _nodes(lab, off)
    due = {name for name, _, node in listed if node not in off}
    healthy = not trouble and all(each["pid"] for each in running if each["name"] in due)
    return {
        "name": plan.name,
        "healthy": healthy and all(each["state"] in ("Ready", "off") for each in nodes),
        "trouble": trouble,
        "folder": str(lab.folder),
        "kubeconfig": str(lab.admin_conf),
        "apiServer": plan.api_server,
        "clusterDNS": plan.dns_service,
        "clusterCIDR": plan.cluster_cidr,
        "serviceCIDR": plan.service_cidr,
        "loadBalancerPool": plan.lb_pool,
        "machine": plan.machine,
        "outside": plan.hosts["outside"],
        "nodes": nodes,
        "daemons": running,
    }


def _daemon(lab: Lab, name: str, host: str) -> dict[str, Any]:
    record = launching.recorded(lab, name)
    alive = record is not None and processes.lives(record.who)
    return {
        "name": name,
        "host": host or "machine",
        "pid": record.who.pid if record is not None and alive else None,
        "seconds": round(processes.seconds_lived(record.who), 1) if record is not None and alive else None,
        "restarts": record.restarts if record is not None else 0,
        "log": str(lab.log(name)),
    }


def _nodes(lab: Lab, off: Iterable[str]) -> tuple[list[dict[str, Any]], str]:
    known, trouble = {}, ""
    try:
        known = {each["metadata"]["name"]: each for each in Api(lab).get("/api/v1/nodes")["items"]}
    except ApiError as error:
        trouble = str(error)
    rows = []
    for name in lab.plan.node_names:
        node = known.get(name)
        state = "unknown" if node is None else "Ready" if is_ready(node) else "NotReady"
        pods = (node or {}).get("spec", {}).get("podCIDR", "")
        row = {"name": name, "address": lab.plan.hosts[name], "state": "off" if name in off else state, "podCIDR": pods}
        rows.append(row)
    return rows, trouble


def _shown(lab: Lab, found: dict[str, Any]) -> Iterable[str]:
    yield f"{found['name']}: {'well' if found['healthy'] else 'not well'}, {found['apiServer']}, {found['folder']}"
    if found["trouble"]:
        yield f"  {found['trouble']}"
    yield ""
    yield from _table(
        ("NODE", "ADDRESS", "STATE", "PODS"),
        [(each["name"], each["address"], each["state"], each["podCIDR"]) for each in found["nodes"]],
    )
    yield ""
    yield from _table(
        ("DAEMON", "ON", "PID", "UP", "RESTARTS"),
        [
            (each["name"], each["host"], each["pid"] or "-", _duration(each["seconds"]), each["restarts"])
            for each in found["daemons"]
        ],
    )
    yield from next_steps(lab, "")


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterable[str]:
    lines = [tuple(map(str, line)) for line in (heads, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    for line in lines:
        yield "  " + "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip()


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds < 120:
        return f"{seconds:.0f}s"
    return f"{seconds / 60:.0f}m" if seconds < 7200 else f"{seconds / 3600:.0f}h"
