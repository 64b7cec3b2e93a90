"""Which services make a write fail: found by trying, so that one bad service does not keep all others waiting.

In: keys and a question that can be asked of any part of them (does this part alone work?). Out: the keys that fail.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence


def culprits(keys: Sequence[str], works: Callable[[Sequence[str]], bool]) -> list[str]:
    """The keys without which the rest works, by halving: about log2(n) questions for each of them.

    Keys fail each for itself, not only together; a part that fails though its halves work is not looked into further.
    """
    if not keys or works(keys):
        return []
    if len(keys) == 1:
        return list(keys)
    middle = len(keys) // 2
    return culprits(keys[:middle], works) + culprits(keys[middle:], works)


def suspects(line: str, keys: Sequence[str]) -> list[str]:
    """The keys (`namespace/name`) that a rule's text names in its comment."""
    words = {word.strip('"').partition(":")[0] for word in line.split()}
    return [key for key in keys if key in words]
