"""`svcplane-dns run` as a user starts it, on ports that the kernel chooses.

In: a kubeconfig and flags. Out: a DNS server on loopback, its HTTP endpoints and its log.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from peers.processes import Process
from peers.reach import HttpServer
from support.resolvers import Address


class SvcplaneDns:
    """`svcplane-dns run` as a user starts it, on ports that the kernel chooses."""

    def __init__(self, folder: Path, kubeconfig: Path, *flags: str) -> None:
        program = Path(sys.executable).with_name("svcplane-dns")
        self._log = folder / "svcplane-dns.log"
        own = ("--kubeconfig", kubeconfig, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0")
        self.process = Process((program, "run", *own, *flags), self._log)

    def start(self) -> None:
        """Returns when the DNS ports are open."""
        self.process.start()
        where = self.process.wait_until(lambda: self._logged(r"serving dns addresses=(\S+)"), "the DNS ports are open")
        self.address: Address = ("127.0.0.1", int(where.rpartition(":")[2]))
        self.http = HttpServer("127.0.0.1", int(self._logged(r"serving http address=\S+:(\d+)")))

    def _logged(self, pattern: str) -> str:
        found = re.findall(pattern, self._log.read_text())
        return found[-1] if found else ""

    @property
    def log(self) -> str:
        return self._log.read_text()


@contextmanager
def svcplane_dns(folder: Path, kubeconfig: Path, *flags: str) -> Iterator[SvcplaneDns]:
    folder.mkdir(exist_ok=True)
    server = SvcplaneDns(folder, kubeconfig, *flags)
    try:
        server.start()
        yield server
    finally:
        server.process.stop()
