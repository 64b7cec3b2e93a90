"""Flags as Go programs take them: `-name value`, `--name=value`, a bare name for a boolean.

In: argv without the program's name, and the flags with their defaults; the default's type is the flag's.
Out: values by name, and the words that are no flags. Refuses (ValueError) a flag that is not there or has no value.
"""

from __future__ import annotations


def parse(words: list[str], flags: dict[str, str | int | bool]) -> tuple[dict[str, str | int | bool], list[str]]:
    found, left = dict(flags), list(words)
    rest: list[str] = []
    while left:
        word = left.pop(0)
        if word == "--":
            return found, rest + left
        if not word.startswith("-") or word == "-":
            rest.append(word)
            continue
        name, given, value = word.lstrip("-").partition("=")
        if name not in flags:
            raise ValueError(f"unknown flag {word}; there are: {' '.join('--' + each for each in flags)}")
        default = flags[name]
        if isinstance(default, bool):
            found[name] = value in ("1", "t", "true", "True") if given else True
            continue
        if not given:
            if not left:
                raise ValueError(f"flag {word} needs a value")
            value = left.pop(0)
        if isinstance(default, int):
            try:
                found[name] = int(value)
            except ValueError:
                raise ValueError(f"flag {word}: {value!r} is no number") from None
        else:
            found[name] = value
    return found, rest
