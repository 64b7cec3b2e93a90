"""`svcplane-lab exec PLACE -- COMMAND`: in a pod, on a node, on the outside host; the exit status is the command's.

PLACE is a pod's name (-n says its namespace, -c its container), or node/NAME, control, outside, internet, machine.
"""

from __future__ import annotations

import argparse

from svclab.cluster import places
from svclab.errors import LabError

HOSTS = ("control", "outside", "internet", "machine")


def configure(parser: argparse.ArgumentParser) -> None:
    places.add_flags(parser)
    _add_pod_flags(parser)
    where = "a pod's name, node/NAME, control, outside, internet or machine"
    parser.add_argument("place", metavar="PLACE", help=where)
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="the command and its arguments")


def run(parsed: argparse.Namespace) -> int:
    place, command = asked_for(parsed)
    if not command:
        raise LabError(f"nothing to run: svcplane-lab exec {parsed.place} -- COMMAND")
    return places.replace_with(places.asked(parsed), place, command)


def asked_for(parsed: argparse.Namespace) -> tuple[str, list[str]]:
    """The place as `places` spells it, and the command. Flags may stand between the place and the two dashes."""
    words, before = list(parsed.words), []
    if words and words[0].startswith("-") and "--" in words:  # dashes right after the place argparse takes away itself
        before, words = words[: words.index("--")], words[words.index("--") + 1 :]
    late = argparse.ArgumentParser(prog="svcplane-lab exec", add_help=False)
    _add_pod_flags(late)
    late.set_defaults(namespace=parsed.namespace, container=parsed.container)
    pod = late.parse_args(before)
    return _placed(parsed.place, pod.namespace, pod.container), words


def _placed(place: str, namespace: str, container: str) -> str:
    if place in HOSTS or place.startswith("node/"):
        return place
    return "/".join(["pod", namespace, place.removeprefix("pod/"), *([container] if container else [])])


def _add_pod_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", "--namespace", default="default", help="the pod's namespace (default: default)")
    parser.add_argument("-c", "--container", default="", help="the container (default: the pod's first)")
