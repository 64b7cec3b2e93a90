"""What the loop does for those who carry out its decisions. Only the loop's thread changes a `Pod`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeAlias, TypeVar

from svclab.kubelet.pods import Pod

Body: TypeAlias = dict[str, Any]
T = TypeVar("T")


class Office(Protocol):
    """What the loop does for us."""

    def background(self, pod: Pod, work: Callable[[], T], done: Callable[[Pod, T | Exception], None]) -> None:
        """Runs `work` in a thread and `done` in the loop, with its result or what it raised; then looks at the pod."""

    def later(self, uid: str, call: Callable[[Pod], None]) -> None:
        """From any thread: runs `call` in the loop, if the pod is still known; then looks at the pod."""

    def services(self) -> Iterable[Body]: ...

    def pod_ranges(self) -> tuple[str, ...]: ...
