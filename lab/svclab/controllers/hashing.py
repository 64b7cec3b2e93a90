"""Short names out of long values. Pure.

Kubernetes hashes a Go dump of the pod template; ours hashes its JSON, so the letters differ and the shape is the same:
FNV-1a, 32 bits, in decimal digits spelled with letters that make no words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def template_hash(template: Mapping[str, Any], collisions: int | None) -> str:
    """The value of the label pod-template-hash: up to ten letters, the same for equal templates."""
    text = json.dumps(template, sort_keys=True, separators=(",", ":"))
    value = 0x811C9DC5
    for byte in f"{text}{'' if collisions is None else collisions}".encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return "".join(ALPHABET[ord(digit) % len(ALPHABET)] for digit in str(value))
