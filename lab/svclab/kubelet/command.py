"""`svcplane-lab kubelet`: flags, start and end of the process.

In: argv and signals. Out: a node of the cluster, until SIGTERM; its pods stay. `--cleanup` ends them and removes what
the kubelet wrote into the kernel. Flags have kubelet's names where it has them.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path

from svckube.access import AccessError, from_kubeconfig
from svckube.observe import fields, log_to, sd_notify, serve
from svclab import images
from svclab.errors import LabError
from svclab.kubelet import network
from svclab.kubelet.loop import Kubelet
from svclab.kubelet.node import machine
from svclab.kubelet.starting import Settings
from svclab.kubelet.storage import Storage
from svclab.kubelet.teardown import end_everything

ROOT = "/var/lib/svcplane-lab/kubelet"

_log = logging.getLogger(__name__)


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--kubeconfig", default="", help="how to reach the API server; default: $KUBECONFIG")
    add("--hostname-override", default="", help="the Node's name; default: this host's")
    add("--node-ip", default="", help="the Node's InternalIP (two with a comma: dual-stack); default: the way out's")
    add("--root-dir", type=Path, default=Path(ROOT), help=f"state, volumes and logs of pods; default: {ROOT}")
    add("--cluster-dns", default="", help="name server of pods, such as 10.96.0.10; several with commas")
    add("--cluster-domain", default="cluster.local", help="default: cluster.local")
    add("--images", type=Path, help="YAML file with more images: name: {exec: [...], command: [...], env: {...}}")
    add("--node-status-update-frequency", default="10s", help="how often the Lease is renewed; default: 10s")
    add("--healthz-port", type=int, default=10248, help="on 127.0.0.1; 0: none; default: 10248")
    add("--cleanup", action="store_true", help="end all pods of this root directory, remove routes and chain, and exit")


def run(parsed: argparse.Namespace) -> int:
    log_to(sys.stderr)
    if os.geteuid() != 0:
        raise LabError("the kubelet makes namespaces, cables and mounts: run it as root")
    if parsed.cleanup:
        ended = end_everything(parsed.root_dir)
        network.remove()
        print(f"{ended} processes ended; routes and chain {network.CHAIN} removed")
        return 0
    try:
        access = from_kubeconfig(parsed.kubeconfig)
    except AccessError as error:
        raise LabError(error.message) from error
    name = (parsed.hostname_override or socket.gethostname()).lower()
    addresses = _addresses(parsed.node_ip)
    storage = Storage(parsed.root_dir)
    here = machine(name, addresses, storage.root)
    settings = Settings(
        name,
        addresses,
        tuple(one for one in parsed.cluster_dns.split(",") if one),
        parsed.cluster_domain,
        here.capacity,
        images.read(parsed.images) if parsed.images else {},
        _seconds(parsed.node_status_update_frequency),
    )
    kubelet = Kubelet(access, settings, here, storage)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: kubelet.stop())
    if parsed.healthz_port:
        serve(f"127.0.0.1:{parsed.healthz_port}", {"/healthz": lambda: (HTTPStatus.OK, "text/plain", b"ok")})
    _log.info("starting", extra=fields(node=name, server=access.server, root=storage.root))
    sd_notify("READY=1")
    kubelet.run()
    _log.info("ended; pods stay")
    return 0


def _addresses(given: str) -> tuple[str, ...]:
    words = [word.strip() for word in given.split(",") if word.strip()]
    try:
        for word in words:
            ip_address(word)
    except ValueError as error:
        raise LabError(f"--node-ip: {error}") from error
    return tuple(words) or (_way_out(),)


def _way_out() -> str:
    """The address that this host would use to somewhere else (RFC 5737; nothing is sent)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError as error:
            raise LabError("this host has no way out, so say --node-ip") from error
        found: str = probe.getsockname()[0]
        return found


def _seconds(text: str) -> float:
    """A duration as Go writes it: `2s`, `500ms`, `1m`."""
    for suffix, factor in (("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("", 1.0)):
        if text.endswith(suffix):
            try:
                seconds = float(text.removesuffix(suffix)) * factor
            except ValueError:
                continue
            if seconds > 0:
                return seconds
    raise LabError(f"--node-status-update-frequency: {text!r} is no duration; write 2s or 500ms")
