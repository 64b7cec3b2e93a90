"""Dialects and pipelines of one node for tests that need no kernel."""

from __future__ import annotations

from typing import Any

import msgspec

from support.worlds import NODE, ZONE
from svcagent.dialect import Dialect, dialect
from svcagent.options import parse as parse_options
from svcagent.pipeline import Pipeline
from svcagent.resolve import NodeView
from svckube.objects import Node
from svcnet.rules import Family

ADDRESSES = ("127.0.0.1", "::1", "192.168.56.11", "10.0.0.5", "fd00:56::11", "fe80::1")
CLUSTER_CIDR = "10.244.0.0/16,fd00:10:244::/56"


def node(*addresses: str, kind: str = "InternalIP", external: str = "", zone: str = "", **spec: Any) -> Node:
    """A Node with these addresses, all of one type, after an external one if there is one; `spec` as in the API."""
    labels = {"topology.kubernetes.io/zone": zone} if zone else {}
    found = [("ExternalIP", external)] if external else []
    found += [(kind, each) for each in addresses]
    status = {"addresses": [{"type": each, "address": address} for each, address in found]}
    metadata = {"name": NODE, "labels": labels, "resourceVersion": "1"}
    return msgspec.convert({"metadata": metadata, "spec": spec, "status": status}, Node)


def dialect_of(
    *flags: str, family: Family = "IPv4", on: Node | None = None, drop_invalid: bool = True, accounting: bool = False
) -> Dialect:
    """The dialect of a node with `ADDRESSES` and these flags."""
    return dialect(
        parse_options(flags), family, on, ADDRESSES, random_fully=True, drop_invalid=drop_invalid, accounting=accounting
    )


def pipeline_of(*flags: str, family: Family = "IPv4") -> Pipeline:
    return Pipeline(dialect_of("--cluster-cidr", CLUSTER_CIDR, *flags, family=family), NodeView(NODE, ZONE))
