"""Ends every pod of a kubelet, without the kubelet and without the API server.

In: the kubelet's root directory. Out: no process of its pods is left; their records say so no more. Processes are
found by recorded number and start time, so nothing else can be hit. Namespaces, cables and mounts end with them.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

from svclab.identity import Identity
from svclab.kubelet.deaths import ended
from svclab.kubelet.pods import Pod
from svclab.kubelet.storage import read_pods
from svclab.processes import lives, signalled

WAIT_SECONDS = 5.0


def end_everything(root_dir: Path | str) -> int:
    """Kills what runs, waits until it is gone; returns how many processes there were. Safe to call twice.

    The kubelet itself must have ended before, or it starts them again.
    """
    victims = [process for pod in read_pods(Path(root_dir)) for process in processes_of(pod) if lives(process)]
    for process in victims:
        signalled(process, signal.SIGKILL)
    deadline = time.monotonic() + WAIT_SECONDS
    for process in victims:
        ended(process, max(deadline - time.monotonic(), 0.0))
    return len(victims)


def processes_of(pod: Pod) -> list[Identity]:
    """Everything that the record names: first processes before their shims, the sandbox last."""
    runs = [one.run for one in pod.containers.values() if one.run is not None and one.run.exit_code is None]
    found = [process for run in runs for process in (run.init, run.shim)]
    if pod.sandbox is not None:
        found += [pod.sandbox.init, pod.sandbox.pause]
    return found
