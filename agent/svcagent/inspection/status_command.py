"""`svcplane-agent status`: asks the agent that runs on this node how it is.

In: the address of its metrics server. Out: text or JSON. Exit status 0 if it is well, 1 if it is not, does not run
or does not answer.
"""

from __future__ import annotations

import argparse
import http.client

import msgspec

from svcagent import status
from svcagent.status import ForeignStatusError, Status
from svcnet import links

SECONDS = 5.0


class NotRunningError(Exception):
    """Nobody answers, or somebody else does; the message says where and what to try."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--metrics-bind-address",
        dest="address",
        default="127.0.0.1:10249",
        metavar="ADDRESS:PORT",
        help="where the agent's metrics are, as it was started with (127.0.0.1:10249)",
    )
    parser.add_argument("--netns", default="", help="network namespace of the agent, a name or a path")
    parser.add_argument("--json", action="store_true", help="one JSON object in place of text")


def run(parsed: argparse.Namespace) -> int:
    """Prints the status."""
    if parsed.netns:
        links.enter(parsed.netns)
    found = asked(parsed.address)
    if parsed.json:
        print(msgspec.json.format(status.body(found), indent=2).decode())
    else:
        print(status.text(found), end="")
    return 0 if found.well else 1


def asked(address: str) -> Status:
    """The status that an agent at `host:port` tells; NotRunningError if there is none."""
    host, _, port = address.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "::1", "": "127.0.0.1"}.get(host, host.strip("[]"))
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise NotRunningError(f"{address!r} is not ADDRESS:PORT, such as 127.0.0.1:10249")
    connection = http.client.HTTPConnection(host, int(port), timeout=SECONDS)
    try:
        connection.request("GET", status.PATH)
        answer = connection.getresponse()
        body = answer.read()
    except ConnectionRefusedError as error:
        hint = "is svcplane-agent running, with its metrics there (--metrics-bind-address)?"
        raise NotRunningError(f"nobody listens on {address}: {hint}") from error
    except (OSError, http.client.HTTPException) as error:
        raise NotRunningError(f"no answer from {address}: {error or type(error).__name__}") from error
    finally:
        connection.close()
    if answer.status != http.client.OK:
        who = "kube-proxy perhaps, or an agent that is too old"
        raise NotRunningError(f"{address} answers {status.PATH} with {answer.status}: it is {who}")
    try:
        return status.read(body)
    except ForeignStatusError as error:
        raise NotRunningError(f"{address}: {error}") from error
