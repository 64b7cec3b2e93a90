"""How long to wait before the next try: doubling, up to a limit, forgotten after a quiet time. Pure.

As client-go's flowcontrol.Backoff, which the kubelet uses with 10 s and 5 min for containers and for images.
"""

from __future__ import annotations

import msgspec

FIRST = 10.0
LAST = 300.0


class Backoff(msgspec.Struct, frozen=True):
    """`seconds` to wait, as of the try at `since`; no wait before the first try."""

    seconds: float = 0.0
    since: float = 0.0

    def ends(self, failed: float) -> float:
        """When the next try is due after a failure at `failed`; 0.0 for at once."""
        return failed + self.seconds if self.seconds and not self._forgotten(failed) else 0.0

    def after(self, failed: float) -> Backoff:
        """The state once the try after the failure at `failed` is made."""
        if not self.seconds or self._forgotten(failed):
            return Backoff(FIRST, failed)
        return Backoff(min(self.seconds * 2, LAST), failed)

    def _forgotten(self, moment: float) -> bool:
        return moment - self.since > 2 * LAST


def duration(seconds: float) -> str:
    """Whole seconds as Go prints them: `10s`, `1m20s`, `5m0s`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
