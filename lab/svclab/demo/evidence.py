"""What commands print, as evidence: chains of iptables, counts of connections, DNS answers.

In: texts. Out: the lines worth showing, counts, a probability. Refuses (ValueError) what cannot be read.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping

FOLLOWED = re.compile(r"KUBE-(EXT|SVC|SVL|SEP|XLB)-")
SHARED = ("KUBE-NODEPORTS", "KUBE-SERVICES")


def rules(listing: str) -> list[str]:
    """The rules in `iptables -L CHAIN -n`, spaces squeezed."""
    return [" ".join(line.split()) for line in listing.splitlines()[2:] if line.strip()]


def way(list_chain: Callable[[str], str], start: str, service: str) -> list[str]:
    """The chains a packet for `namespace/name` passes from a shared chain to an endpoint; of several the first.

    `list_chain` gives the listing of one chain. Lines are `CHAIN: rule`.
    """
    lines: list[str] = []
    chain = start
    for _ in range(10):
        found = rules(list_chain(chain))
        if chain in SHARED:
            found = [rule for rule in found if f"{service} " in rule or f"{service}:" in rule]
        lines += [f"{chain}: {rule}" for rule in found]
        targets = [target for rule in found if FOLLOWED.match(target := rule.split(" ", 1)[0])]
        if not targets:
            break
        chain = targets[0]
    return lines


def counted(text: str) -> Counter[str]:
    """How often each line came; empty lines do not count."""
    return Counter(line.strip() for line in text.splitlines() if line.strip())


def shares(counts: Mapping[str, int]) -> list[str]:
    """`name  count  percent`, most first."""
    total = sum(counts.values())
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [f"{count:6d}  {100 * count / total:5.1f} %  {name}" for name, count in ordered]


def evenness(counts: Mapping[str, int], choices: int) -> float:
    """The probability that an even choice among so many gives counts as uneven as these, or more: Pearson's chi-square.

    A choice that never came counts with 0. ValueError if more came than there are, or nothing at all.
    """
    total = sum(counts.values())
    if choices < 2 or len(counts) > choices or total == 0:
        raise ValueError(f"{len(counts)} different of {choices} choices, {total} in all")
    expected = total / choices
    seen = [*counts.values(), *[0] * (choices - len(counts))]
    statistic = sum((count - expected) ** 2 / expected for count in seen)
    return _upper_gamma((choices - 1) / 2, statistic / 2)


def _upper_gamma(a: float, x: float) -> float:
    """Q(a, x), the regularized upper incomplete gamma function: its series below a + 1, its fraction above.

    Abramowitz and Stegun 6.5.29 and 6.5.31; the fraction by Lentz's method.
    """
    if x <= 0:
        return 1.0
    scale = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        for n in range(1, 1000):
            term *= x / (a + n)
            total += term
            if term < total * 1e-15:
                break
        return max(0.0, 1 - scale * total)
    b = x + 1 - a
    c, d = 1e300, 1 / b
    fraction = d
    for n in range(1, 1000):
        factor = -n * (n - a)
        b += 2
        d = 1 / (factor * d + b)
        c = b + factor / c
        fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return scale * fraction
