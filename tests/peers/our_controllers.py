"""Some of our controllers on a real API server, in a thread of the tests.

In: a control plane without the controllers that ours stand in for. Out: nothing; they run until the block is left.
`svcplane-lab controllers` would run all of them, also those that mind nodes without a kubelet.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from peers.control_plane import ControlPlane
from svckube.access import from_kubeconfig
from svclab.controllers.reduce import Controller
from svclab.controllers.runner import Runner


@contextmanager
def running_controllers(plane: ControlPlane, *controllers: Controller) -> Iterator[None]:
    """Raises AssertionError if they have not listed everything within ten seconds, or do not end when told."""
    listed = threading.Event()
    runner = Runner(from_kubeconfig(str(plane.kubeconfig())), controllers, ready=listed.set)
    thread = threading.Thread(target=runner.run, name="controllers", daemon=True)
    thread.start()
    try:
        assert listed.wait(10), "the controllers have not listed everything"
        yield
    finally:
        runner.stop()
        thread.join(10)
        assert not thread.is_alive(), "the controllers do not end"
