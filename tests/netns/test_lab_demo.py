"""The demo on labs with other ranges than the default ones: what it shows, what it leaves, and that it can fail."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.labs import lab_command, plan_of, traces
from svclab.cluster.api import Api
from svclab.cluster.plan import Plan
from svclab.cluster.state import Lab
from svclab.demo.rows import ROWS

pytestmark = [pytest.mark.netns, pytest.mark.timeout(400)]


@contextmanager
def lab_of(plan: Plan, folder: Path) -> Iterator[Lab]:
    """Up, and gone at the end."""
    which = ["--name", plan.name, "--state", str(folder)]
    flags = [
        *("--nodes", str(plan.nodes), "--node-cidr", plan.node_cidr, "--lb-pool", plan.lb_pool),
        *("--cluster-cidr", plan.cluster_cidr, "--service-cluster-ip-range", plan.service_cidr),
    ]
    try:
        done = lab_command("up", *which, *flags)
        assert done.returncode == 0, done.stderr
        yield Lab(plan, folder)
    finally:
        lab_command("down", *which)
    assert traces(plan, folder) == []


def played(lab: Lab, *words: str) -> tuple[int, dict[str, Any]]:
    """Exit status and data."""
    which = ("--name", lab.plan.name, "--state", str(lab.folder))
    done = lab_command("demo", "--json", *which, *words, seconds=300)
    assert done.stdout, done.stderr
    data: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, data


def demo_namespaces(lab: Lab) -> list[str]:
    names = [each["metadata"]["name"] for each in Api(lab).get("/api/v1/namespaces")["items"]]
    return [name for name in names if name.startswith("demo-")]


def failures(data: dict[str, Any]) -> list[str]:
    return [
        f"{row['row']}: {step['what']}: {step['failure']}"
        for row in data["rows"]
        for step in row["steps"]
        if step["failure"]
    ]


def test_every_row(tmp_path: Path) -> None:
    plan = plan_of("d", nodes=3, cluster_cidr="10.233.64.0/18", service_cidr="10.233.0.0/18")
    with lab_of(plan, tmp_path / "state") as lab:
        status, data = played(lab)
        assert failures(data) == []
        assert (status, data["ok"]) == (0, True)
        assert [row["row"] for row in data["rows"]] == [row.name for row in ROWS]
        assert all(step["what"] for row in data["rows"] for step in row["steps"])
        assert demo_namespaces(lab) == []


def test_one_node_without_a_pool_and_a_row_that_fails(tmp_path: Path) -> None:
    plan = plan_of("e", nodes=1, cluster_cidr="10.1.0.0/16", service_cidr="10.233.0.0/18", lb_pool="")
    with lab_of(plan, tmp_path / "state") as lab:
        status, data = played(lab, "--only", "1,11")
        assert failures(data) == []
        assert status == 0
        # Somebody else has the node port that row 9 wants.
        ports = [{"port": 80, "nodePort": 31111}]
        service = {"metadata": {"name": "thief"}, "spec": {"type": "NodePort", "ports": ports}}
        Api(lab).request(
            "POST", "/api/v1/namespaces/default/services", {"apiVersion": "v1", "kind": "Service", **service}
        )
        status, data = played(lab, "--only", "9,6")
        assert (status, data["ok"]) == (1, False)
        assert [(row["row"], row["ok"]) for row in data["rows"]] == [("6", True), ("9", False)]
        assert ["provided port is already allocated" in text for text in failures(data)] == [True]
        assert demo_namespaces(lab) == []
