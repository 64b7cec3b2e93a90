"""`svcplane-agent run`: kube-proxy's command lines, and this agent's.

In: the parsed flags. Out: a daemon until a signal, or one of the things that are done and over: --version,
--write-config-to, --cleanup, --init-only. With --config the file is followed: when it asks for something else, the loop
ends as for a signal and the process begins again where it began. Refuses with `OptionsError` (flags) or `StartError`
(the file, by its name).
"""

from __future__ import annotations

import argparse
import os
import queue
import sys
from collections.abc import Callable
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path

from svcagent import configuration, daemon, messages, reload, sync
from svcagent.configuration import Configuration, ConfigurationError
from svckube import observe
from svckube.systemd import Unit
from svcnet import links

ALL_IS_TOLD = 4
"""From this -v on, kube-proxy tells what it does and not only what happened."""


def run(parsed: argparse.Namespace, cleanup: Callable[[argparse.Namespace], int]) -> int:
    """The exit status. `cleanup` is the command of that name."""
    if parsed.version:
        print(f"svcplane-agent {metadata.version('svcplane')}")
        return 0
    text = Path(parsed.config).read_text(encoding="utf-8") if parsed.config else None
    try:
        found = configuration.configuration(parsed, text)
    except ConfigurationError as error:
        raise daemon.StartError(f"{parsed.config}: {error}") from error
    if parsed.write_config_to:
        Path(parsed.write_config_to).write_text(configuration.written(found.options), encoding="utf-8")
        return 0
    if parsed.cleanup:
        return cleanup(argparse.Namespace(netns=found.options.netns, flavour=found.options.flavour))
    level = "DEBUG" if found.options.verbosity >= ALL_IS_TOLD else "INFO"
    observe.log_to(sys.stderr, level=level, as_json=found.options.log_format == "json")
    for warning in found.warnings:
        sync.log.warning(warning, extra=observe.fields(file=parsed.config))
    if parsed.init_only:
        daemon.enter(found.options.netns)
        daemon.set_up(found.options)
        return 0
    _serve(parsed, text, found)
    return 0


def _serve(parsed: argparse.Namespace, text: str | None, found: Configuration) -> None:
    inbox: messages.Inbox = queue.SimpleQueue()
    unit = Unit()
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    follower: reload.Follower | None = None
    with ExitStack() as closing:
        if text is not None:
            file = reload.ConfigurationFile(
                Path(parsed.config), text, found, lambda new: configuration.configuration(parsed, new)
            )
            follower = reload.Follower(file, lambda: inbox.put(messages.Stop()))
            follower.start()
            closing.callback(follower.stop)
        daemon.run(found.options, inbox, unit)
    if follower and follower.due:
        sync.log.info("another configuration: beginning again", extra=observe.fields(file=parsed.config))
        if found.options.netns:  # going back takes a right that an agent of a host's own need not have
            links.enter(f"/proc/self/fd/{home}")
        reload.begin_again()
    unit.stopping()  # not when it begins again: systemd would wait for the end of the process
