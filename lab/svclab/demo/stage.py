"""What a row of the demo acts through: kubectl, commands at places, the API, checks with a deadline.

In: a lab, the row's name, and where lines go. Out: steps with their evidence. A check that does not hold raises
`CheckError`, which says what was expected and what was seen; it ends the row.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from svclab.cluster.api import Api, ApiError
from svclab.cluster.places import run_in
from svclab.cluster.state import Lab
from svclab.demo.evidence import counted, way
from svclab.demo.report import Step
from svclab.errors import LabError

T = TypeVar("T")
Body = dict[str, Any]

EXAMPLES = Path(__file__).parents[3] / "deploy" / "examples"
PATIENCE = 60.0  # seconds for what should take one or two: the machine may be busy
PAUSE = 0.1
# A connection that begins before the rules are there goes nowhere: two seconds, then the next try.
CURL = ("curl", "-sS", "--connect-timeout", "2", "--max-time", "10", "--noproxy", "*")
REFUSED = 7  # curl's exit status for a connection that was refused

_PATHS = {
    "pods": "/api/v1/namespaces/{}/pods",
    "services": "/api/v1/namespaces/{}/services",
    "endpoints": "/api/v1/namespaces/{}/endpoints",
    "endpointslices": "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices",
    "replicasets": "/apis/apps/v1/namespaces/{}/replicasets",
    "deployments": "/apis/apps/v1/namespaces/{}/deployments",
}


class CheckError(Exception):
    """What was expected, and what was seen."""

    def __init__(self, expected: str, seen: object) -> None:
        super().__init__(f"expected: {expected}\n    seen: {seen}")


class Stage:
    """One row's. `namespace` is its own; `steps` are those that have ended."""

    def __init__(self, lab: Lab, kubectl: str, row: str, tell: Callable[[Step], None]) -> None:
        self.lab = lab
        self.namespace = f"demo-{row}"
        self.steps: list[Step] = []
        self.api = Api(lab)
        self._kubectl = kubectl
        self._tell = tell
        self._evidence: list[str] = []

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Ends with a line; a failure in it is told there, and goes on to end the row."""
        began, self._evidence, failure = time.monotonic(), [], ""
        try:
            yield
        except (CheckError, LabError, OSError, subprocess.SubprocessError, KeyError, IndexError, ValueError) as error:
            failure = str(error) if isinstance(error, CheckError) else f"{type(error).__name__}: {error}"
            raise
        finally:
            step = Step(what, time.monotonic() - began, tuple(self._evidence), failure)
            self.steps.append(step)
            self._tell(step)

    def show(self, *lines: str) -> None:
        """Evidence for the step that is under way."""
        for line in lines:
            self._evidence += line.rstrip().splitlines()

    def kubectl(self, *words: str, shown: bool = False, namespace: str = "") -> str:
        """What it prints. CheckError with its message if it fails. `shown` makes command and output evidence."""
        done = self._ran(words, namespace)
        if done.returncode:
            raise CheckError(f"kubectl {' '.join(words)} works", done.stderr.strip())
        if shown:
            self.show(f"$ kubectl {' '.join(words)}", done.stdout)
        return done.stdout

    def refused(self, message: str, *words: str) -> None:
        """kubectl must fail with exactly this on stderr, warnings apart."""
        done = self._ran(words, "")
        lines = [line.rstrip() for line in done.stderr.strip().splitlines() if not line.startswith("Warning: ")]
        self.show(f"$ kubectl {' '.join(words)}", *lines)
        if done.returncode == 0:
            raise CheckError("kubectl fails", done.stdout)
        if lines != [line.rstrip() for line in message.splitlines()]:
            raise CheckError(message, "\n".join(lines))

    def apply(self, name: str, namespace: str = "") -> None:
        """A manifest of deploy/examples."""
        self.kubectl("apply", "-f", example(name), namespace=namespace)

    def lab_command(self, *words: str) -> None:
        """`svcplane-lab WORDS` on this lab."""
        program = str(Path(sys.executable).parent / "svcplane-lab")
        which = ("--name", self.lab.plan.name, "--state", str(self.lab.folder))
        done = subprocess.run([program, *words, *which], capture_output=True, text=True, timeout=60, check=False)
        self.show(f"$ svcplane-lab {' '.join(words)}", done.stdout)
        if done.returncode:
            raise CheckError(f"svcplane-lab {' '.join(words)} works", done.stderr.strip())

    def _ran(self, words: Sequence[str], namespace: str) -> subprocess.CompletedProcess[str]:
        argv = [self._kubectl, "--namespace", namespace or self.namespace, *words]
        # A proxy that this machine uses knows no way to the lab.
        environment = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        environment["KUBECONFIG"] = str(self.lab.admin_conf)
        return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120, check=False)

    def run(self, place: str, *argv: str, seconds: float = 60.0) -> subprocess.CompletedProcess[str]:
        """`place` as in `svclab.cluster.places`; a pod of this row is `pod/NAME` or `pod/NAME/CONTAINER`."""
        if place.startswith("pod/") and not place.startswith(f"pod/{self.namespace}"):
            place = f"pod/{self.namespace}/{place.partition('/')[2]}"
        return run_in(self.lab, place, argv, seconds=seconds)

    def printed(self, place: str, *argv: str, seconds: float = 60.0) -> str:
        """CheckError if the command fails."""
        done = self.run(place, *argv, seconds=seconds)
        if done.returncode:
            raise CheckError(f"{place}$ {' '.join(argv)} works", f"status {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def curl(self, place: str, url: str, *flags: str) -> str:
        """The body."""
        return self.printed(place, *CURL, *flags, url)

    def hits(self, place: str, url: str, connections: int, seconds: float = 60.0) -> Counter[str]:
        """Who answered how often, each time over a new connection; one curl with as many URLs."""
        separator = "&" if "?" in url else "?"
        argv = [*CURL, "-w", "\\n", "-H", "Connection: close", f"{url}{separator}[1-{connections}]"]
        counts = counted(self.printed(place, *argv, seconds=seconds))
        if counts.total() != connections:
            raise CheckError(f"{connections} answers", f"{counts.total()}: {dict(counts)}")
        return counts

    def get(self, plural: str, name: str, namespace: str = "") -> Body:
        return self.api.get(f"{_PATHS[plural].format(namespace or self.namespace)}/{name}")

    def listed(self, plural: str, selector: str = "", namespace: str = "") -> list[Body]:
        """By name."""
        query = f"?labelSelector={selector.replace('=', '%3D')}" if selector else ""
        items: list[Body] = self.api.get(_PATHS[plural].format(namespace or self.namespace) + query)["items"]
        return sorted(items, key=lambda item: item["metadata"]["name"])

    def pods(self, selector: str, count: int, namespace: str = "") -> list[Body]:
        """So many pods with these labels that are ready, and no others that are not about to go."""

        def there() -> list[Body] | None:
            found = [pod for pod in self.listed("pods", selector, namespace) if not is_going(pod)]
            return found if len(found) == count and all(map(is_ready, found)) else None

        return self.until(there, f"{count} ready pods with {selector}", self._pods_seen(selector, namespace))

    def _pods_seen(self, selector: str, namespace: str) -> Callable[[], str]:
        return lambda: ", ".join(map(pod_line, self.listed("pods", selector, namespace))) or "none"

    def endpoints(self, service: str) -> set[str]:
        """The addresses with ports in the Endpoints object, those that are ready."""
        subsets = self.get("endpoints", service).get("subsets") or []
        return {
            f"{address['ip']}:{port['port']}"
            for subset in subsets
            for address in subset.get("addresses") or []
            for port in subset.get("ports") or []
        }

    def await_endpoints(self, service: str, wanted: set[str]) -> None:
        def there() -> bool:
            return self.endpoints(service) == wanted

        self.until(there, f"endpoints of {service}: {sorted(wanted)}", lambda: sorted(self.endpoints(service)))

    def until(
        self,
        probe: Callable[[], T | None],
        expected: str,
        seen: Callable[[], object] | None = None,
        seconds: float = PATIENCE,
    ) -> T:
        """The first truthy value. A probe that fails counts as "not yet". CheckError after the deadline."""
        deadline, last = time.monotonic() + seconds, ""
        while True:
            try:
                if value := probe():
                    return value
                last = ""
            except (ApiError, CheckError, KeyError, subprocess.TimeoutExpired) as error:
                last = str(error)
            if time.monotonic() >= deadline:
                raise CheckError(f"within {seconds:.0f} s: {expected}", last or (seen() if seen else "nothing of it"))
            time.sleep(PAUSE)

    def expect(self, holds: bool, expected: str, seen: object) -> None:
        if not holds:
            raise CheckError(expected, seen)

    def cluster_ip(self, service: str) -> str:
        address: str = self.get("services", service)["spec"]["clusterIP"]
        return address

    def chains(self, node: str, start: str, service: str) -> list[str]:
        """The way of a packet through a node's nat table, by `iptables -t nat -L CHAIN -n`."""

        def listing(chain: str) -> str:
            return self.printed(node, "iptables", "-w", "5", "-t", "nat", "-L", chain, "-n")

        return way(listing, start, f"{self.namespace}/{service}")

    @property
    def nodes(self) -> tuple[str, ...]:
        return self.lab.plan.node_names

    def address_of(self, node: str) -> str:
        return self.lab.plan.hosts[node]


def example(name: str) -> str:
    """The path of a manifest, as short as it can be written here. LabError if this is no checkout."""
    path = EXAMPLES / name
    if not path.is_file():
        raise LabError(f"{path} is not there: the demo plays the manifests of a checkout of the repository")
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def name_of(body: Body) -> str:
    name: str = body["metadata"]["name"]
    return name


def ip_of(pod: Body) -> str:
    address: str = pod.get("status", {}).get("podIP", "")
    return address


def is_going(body: Body) -> bool:
    return "deletionTimestamp" in body["metadata"]


def is_ready(pod: Body) -> bool:
    conditions = pod.get("status", {}).get("conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def pod_line(pod: Body) -> str:
    status = pod.get("status", {})
    waiting = [each["state"]["waiting"].get("reason", "") for each in status.get("containerStatuses") or []
               if "waiting" in each.get("state", {})]  # fmt: skip
    state = "going" if is_going(pod) else "ready" if is_ready(pod) else " ".join(waiting) or status.get("phase", "")
    return f"{name_of(pod)} {state} {ip_of(pod)} on {pod['spec'].get('nodeName', 'no node')}"
