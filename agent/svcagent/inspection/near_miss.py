"""Why a Service has no endpoints although there are pods: the labels that nearly match its selector.

In: a selector, and pods. Out: sentences, best first. A pod is near if each pair of the selector that it lacks has a
label that reads much like it: another key with the same value (`service-app=web` where the pod says
`service-name=web`), another value, a different case.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

import msgspec

from svcagent.inspection.inventory import LabelledPod

CLOSE = 0.6
"""How alike two `key=value` texts are (difflib's ratio) before one is taken for the other misspelled."""

# Labels that controllers write, different for each revision or pod: nobody selects by them by mistake.
_GENERATED = {
    "pod-template-hash",
    "controller-revision-hash",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "pod-template-generation",
    "controller-uid",
    "batch.kubernetes.io/controller-uid",
}

Pairs = tuple[tuple[str, str], ...]


class NearMiss(msgspec.Struct, frozen=True):
    """Pods of one set of labels. `missing` are the selector's pairs they lack, each with the pod's pair, if any."""

    closeness: float
    pods: tuple[str, ...]
    missing: tuple[tuple[str, str], ...]


def selected(selector: Mapping[str, str], pod: LabelledPod) -> bool:
    return all(pod.labels.get(key) == value for key, value in selector.items())


def near_misses(selector: Mapping[str, str], pods: Iterable[LabelledPod]) -> list[NearMiss]:
    """The pods that nearly have these labels, nearest first; none of those that have them."""
    alike: dict[Pairs, list[str]] = {}
    for pod in pods:
        if pod.ended or selected(selector, pod):
            continue
        labels = tuple(sorted((key, value) for key, value in pod.labels.items() if key not in _GENERATED))
        alike.setdefault(labels, []).append(pod.key)
    found = [_near_miss(selector, labels, sorted(keys)) for labels, keys in alike.items()]
    near = [each for each in found if each.closeness >= CLOSE]
    return sorted(near, key=lambda each: (-each.closeness, each.pods))


def _near_miss(selector: Mapping[str, str], labels: Pairs, pods: list[str]) -> NearMiss:
    missing: list[tuple[str, str]] = []
    closeness: list[float] = []
    for key, value in sorted(selector.items()):
        if (key, value) in labels:
            closeness.append(1.0)
            continue
        score, pair = max(((_likeness((key, value), each), each) for each in labels), default=(0.0, ("", "")))
        missing.append((f"{key}={value}", "=".join(pair) if score >= CLOSE else ""))
        closeness.append(score)
    return NearMiss(sum(closeness) / len(closeness) if closeness else 0.0, tuple(pods), tuple(missing))


def _likeness(wanted: tuple[str, str], label: tuple[str, str]) -> float:
    """0 to 1. The same value under another key, or another value under the same key, counts as close in any case."""
    whole = difflib.SequenceMatcher(a="=".join(wanted).lower(), b="=".join(label).lower()).ratio()
    half = CLOSE + 0.1 if wanted[0] == label[0] or wanted[1] == label[1] else 0.0
    return max(whole, half)


def sentence(miss: NearMiss) -> str:
    """`pod default/web-1 (and 2 like it) has service-name=web, not service-app=web`."""
    others = len(miss.pods) - 1
    pod = f"pod {miss.pods[0]}" + (f" (and {others} like it)" if others else "")
    parts = [f"has {has}, not {wanted}" if has else f"has nothing like {wanted}" for wanted, has in miss.missing]
    return f"{pod} {'; '.join(parts)}"
