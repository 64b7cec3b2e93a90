"""Leads the load balancer addresses of the lab to a node that is ready: on the outside host and on this machine.

In: the Nodes, by watch. Out: routes. The node stays the same as long as it is ready; another one takes over when it is
not. Without a ready node, and while the API server is away, the routes stay as they are. Stands for what a router, a
cloud or an announcer does in front of a real cluster. Any node will do: it passes connections on to all endpoints;
except for a service with externalTrafficPolicy Local, which is served only where one of its pods runs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from svckube.observe import fields
from svclab.cluster import topology
from svclab.cluster.api import Api, ApiError, is_ready
from svclab.cluster.state import Lab
from svclab.errors import LabError

FROM = ("outside", "")  # "" is this machine
PAUSE = 0.5  # seconds between attempts to reach the API server

_log = logging.getLogger(__name__)


def chosen(nodes: Mapping[str, Mapping[str, Any]], present: str) -> str:
    """The node to lead to: the present one while it is ready, else the first by name that is; "" if none is."""
    ready = sorted(name for name, node in nodes.items() if is_ready(node))
    return present if present in ready else next(iter(ready), "")


def lead(lab: Lab) -> None:
    """Until the process ends."""
    api, present, complaint = Api(lab), "", ""
    while True:
        try:
            for nodes in _nodes(api):
                complaint = ""
                node = chosen(nodes, present)
                if node and node != present and node in lab.plan.hosts:
                    present = node if _point(lab, node) else present
        except ApiError as error:
            if complaint not in ("", str(error)):
                _log.warning("nodes cannot be watched", extra=fields(because=error))
            complaint = str(error)
        time.sleep(PAUSE)


def _point(lab: Lab, node: str) -> bool:
    try:
        for host in FROM:
            topology.lead_pool(lab.plan, host, lab.plan.hosts[node])
    except LabError as error:
        _log.warning("pool cannot be led", extra=fields(node=node, because=error))
        return False
    _log.info("pool leads to", extra=fields(node=node, pool=lab.plan.lb_pool))
    return True


def _nodes(api: Api) -> Any:
    """All Nodes by name, and again after each change, until the watch ends."""
    listed = api.get("/api/v1/nodes")
    nodes = {each["metadata"]["name"]: each for each in listed["items"]}
    yield nodes
    version = listed["metadata"]["resourceVersion"]
    for event in api.watch(f"/api/v1/nodes?watch=1&allowWatchBookmarks=true&resourceVersion={version}"):
        if event["type"] == "ERROR":
            return
        with suppress(KeyError):
            name = event["object"]["metadata"]["name"]
            if event["type"] == "DELETED":
                nodes.pop(name)
            elif event["type"] != "BOOKMARK":
                nodes[name] = event["object"]
        yield nodes
