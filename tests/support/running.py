"""The agent's loop in a thread, as `daemon` puts it together, without an API server; and commands with a script before.

No audit comes by itself within the hour.
"""

from __future__ import annotations

import os
import queue
import shutil
import threading
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from support.nodes import CLUSTER_CIDR
from support.stepped import writer_of
from support.waiting import eventually
from support.worlds import NODE, endpoint, service, slice_of
from svcagent import audit, messages, sync
from svcagent.metrics import Metrics
from svcagent.options import parse as parse_options
from svckube.objects import EndpointSlice, KubeObject, Node, Service
from svckube.store import Listed
from svckube.stream import Applied
from svckube.systemd import Unit
from svclab.netns import Host
from svcnet import notices
from svcnet.writers import Flavour, Iptables

FLAGS = ("--iptables-sync-period", "1h", "--conntrack-max-per-core", "0", "--cluster-cidr", CLUSTER_CIDR)


class Running:
    """Programs a host with one service, `web`, which has one endpoint."""

    def __init__(self, host: Host, flavour: Flavour, *flags: str) -> None:
        self.tool = Iptables("IPv4", flavour)
        self.registry = CollectorRegistry()
        self._host = host
        self._inbox: messages.Inbox = queue.SimpleQueue()
        self._options = parse_options([*FLAGS, *flags])
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        lists = [Listed(Service, (service(ports=[{"port": 80, "nodePort": 30080}]),)), Listed(Node, ())]
        self._inbox.put([*lists, Listed(EndpointSlice, (slice_of("web", endpoint("10.244.1.1")),))])
        eventually(lambda: "--to-destination 10.244.1.1:80" in self.dump(), "the first pass")

    def _run(self) -> None:
        inbox = self._inbox
        with self._host.entered():
            following = (
                notices.rule_changes(lambda *commit: inbox.put(messages.RulesChanged(*commit))),
                notices.address_changes(lambda _: inbox.put(messages.AddressesChanged())),
            )
            beside = audit.beside(inbox.put)
            agent = sync.Agent(self._options, NODE, [writer_of(self.tool)], Metrics(self.registry), beside=beside)
            agent.run(inbox, Unit({}))
            for each in following:
                each.close()

    def say(self, *found: KubeObject) -> None:
        """Watch events arrive."""
        self._inbox.put([Applied(each) for each in found])

    def dump(self) -> str:
        with self._host.entered():
            return self.tool.dump()

    def run(self, *words: str) -> str:
        """An iptables command on the host; what it prints."""
        with self._host.entered():
            return self.tool.run(*words)

    def restore(self, text: str) -> None:
        """Restore input by another hand."""
        with self._host.entered():
            self.tool.restore(text)

    def stop(self) -> None:
        self._inbox.put(messages.Stop())
        self._thread.join(10)

    def healed(self) -> float:
        return self.metric("svcplane_healed_total")

    def metric(self, name: str) -> float:
        return self.registry.get_sample_value(name, {"ip_family": "IPv4"}) or 0.0


def wrap(command: str, folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts a command of this name before the real one, which `script` calls `$real`."""
    real = shutil.which(command)
    assert real
    wrapper = folder / command
    wrapper.write_text(f"#!/bin/sh\nreal={real}\n{script}\n")
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
