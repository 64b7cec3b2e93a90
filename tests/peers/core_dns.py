"""The real CoreDNS on loopback.

In: binaries, the text of a Corefile, a kubeconfig. Out: a DNS server, over UDP and TCP on one port that the kernel
chose. CoreDNS itself fills in `{$PORT}`, `{$READY_PORT}` and `{$KUBECONFIG}` where the Corefile names them; a Corefile
must hold `ready 127.0.0.1:{$READY_PORT}`, for that is how we know when it answers.
"""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from pathlib import Path

from dnslib import DNSRecord

from peers.processes import Process
from peers.reach import HttpServer, port_of, reserved_port, socket_in

ADDRESS = "127.0.0.1"

# What kubeadm installs, without the forward to the machine's own resolver: tests ask nobody outside.
CLUSTER_COREFILE = """\
.:{$PORT} {
    bind 127.0.0.1
    errors
    ready 127.0.0.1:{$READY_PORT}
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        kubeconfig {$KUBECONFIG}
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }
}
"""


class CoreDNS:
    """Its plugin `kubernetes` wants to list and watch Services, EndpointSlices, Namespaces and Pods."""

    def __init__(
        self, binaries: Path, folder: Path, *, kubeconfig: Path, corefile: str = CLUSTER_COREFILE, netns: str = ""
    ) -> None:
        file = folder / "Corefile"
        file.write_text(corefile)
        self._argv = (binaries / "coredns", "-conf", file)
        self._log = folder / "coredns.log"
        self._kubeconfig = kubeconfig
        self._netns = netns
        self._started = ExitStack()

    def start(self) -> None:
        """Returns when CoreDNS answers and each of its plugins is ready."""
        with ExitStack() as started:
            self.port = port_of(started.enter_context(self._dns_port()))
            ready_port = port_of(started.enter_context(reserved_port(ADDRESS, netns=self._netns)))
            environment = {
                **os.environ,
                "PORT": str(self.port),
                "READY_PORT": str(ready_port),
                "KUBECONFIG": str(self._kubeconfig),
            }
            self.process = Process(self._argv, self._log, netns=self._netns, environment=environment)
            self.process.start()
            started.callback(self.process.stop)
            ready = HttpServer(ADDRESS, ready_port, self._netns)
            # Both: /ready says yes before the plugins have been asked, and an answer may come before they are filled.
            self.process.wait_until(
                lambda: self._answers() and ready.request("GET", "/ready").status == 200, "CoreDNS is ready"
            )
            self._started = started.pop_all()

    def stop(self) -> None:
        self._started.close()

    def __enter__(self) -> CoreDNS:
        self.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.stop()

    def _answers(self) -> bool:
        with socket_in(self._netns, ADDRESS, socket.SOCK_DGRAM) as asking:
            asking.settimeout(0.5)
            asking.connect((ADDRESS, self.port))  # so that a closed port is an error at once
            asking.send(DNSRecord.question(".", "NS").pack())
            return bool(asking.recv(4096))

    def _dns_port(self) -> socket.socket:
        """A TCP port that is free for UDP too. Only TCP stays reserved: a UDP socket of ours would get questions."""
        reservation = reserved_port(ADDRESS, netns=self._netns)
        try:
            with socket_in(self._netns, ADDRESS, socket.SOCK_DGRAM) as probe:
                probe.bind((ADDRESS, port_of(reservation)))
        except BaseException:
            reservation.close()
            raise
        return reservation
