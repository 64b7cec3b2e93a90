"""The command line that runs something inside a container.

In: the kubelet's root directory and names, or a `Run`. Out: argv for nsenter, with the container's root, namespaces,
environment and working directory. It works from any namespace of the machine, and needs root. Raises LabError when
there is no such container or it does not run; the message says which containers there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from svclab.errors import LabError
from svclab.kubelet.pods import Pod, Run
from svclab.kubelet.storage import read_pods
from svclab.processes import lives


def inside(run: Run, argv: Sequence[str]) -> list[str]:
    """`argv`, to be run beside the container's own processes."""
    pid = run.init.pid
    words = [f"{name}={value}" for name, value in run.environment.items()]
    namespaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd"]
    return ["nsenter", f"--target={pid}", *namespaces, "--", "env", "-i", f"--chdir={run.directory}", *words, *argv]


def argv_to_enter(root_dir: Path | str, namespace: str, pod: str, container: str = "") -> list[str]:
    """nsenter's command line, to which the command is added; without a container's name, the pod's first one."""
    there = [one for one in read_pods(Path(root_dir)) if (one.namespace, one.name) == (namespace, pod)]
    if not there:
        raise LabError(f"pods {pod!r} not found in namespace {namespace!r} on this node")
    found = max(there, key=lambda one: one.started_at)
    return inside(_run(found, container or found.body["spec"]["containers"][0]["name"]), [])


def _run(pod: Pod, name: str) -> Run:
    if name not in pod.containers:
        raise LabError(f"container {name} is not valid for pod {pod.name}; it has {', '.join(pod.containers)}")
    run = pod.containers[name].run
    if run is None or run.exit_code is not None or not lives(run.init):
        raise LabError(f"container {name} of pod {pod.key} does not run; see kubectl describe pod {pod.name}")
    return run
