"""`svcplane-lab kubectl -- ARGUMENTS`: a kubectl that is new enough, with this lab's kubeconfig."""

from __future__ import annotations

import argparse
import os

from svclab.cluster import kubectl, places


def configure(parser: argparse.ArgumentParser) -> None:
    places.add_flags(parser)
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="-- ARGUMENTS", help="kubectl's own arguments")


def run(parsed: argparse.Namespace) -> int:
    lab = places.asked(parsed)
    words = parsed.words[1:] if parsed.words[:1] == ["--"] else parsed.words
    path = kubectl.find()
    environment = {**os.environ, "KUBECONFIG": str(lab.admin_conf)}
    os.execve(path, [path, *words], environment)  # noqa: S606  # no shell is what we want
