"""What ends a command of svcplane-lab with one line and status 1."""

from __future__ import annotations


class LabError(Exception):
    """The message names the thing that is wrong and what to try."""
