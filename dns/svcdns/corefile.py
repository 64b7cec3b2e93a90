"""The Corefile's grammar: text to server blocks with their directives, each with the line it stands on.

In: the text, the environment for `{$NAME}` and `{%NAME%}`, and a way to read what `import` names. Out: `Block` values
in the order of the file. What a directive means is not known here; `plugins` knows. The grammar is Caddy's: words
between blanks, `"..."` for words with blanks, `#` to the end of the line, `{` as the last word of a line and `}` as the
first, server block keys with or without commas, one block without braces if it is the only one, `(name) { ... }` for a
snippet, `import NAME|PATH|GLOB` for what stands there.

Refuses: what does not follow it, as `CorefileError`, whose message begins with file and line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import msgspec

MOST_IMPORTS = 100  # files and snippets, so that one that imports itself ends

Imported: TypeAlias = Callable[[str, str], Sequence[tuple[str, str]]]
"""(pattern, file that names it) to (path, text) of each file found. OSError where one cannot be read."""

_ENVIRONMENT = re.compile(r"\{\$([^}]+)\}|\{%([^%]+)%\}")


class CorefileError(ValueError):
    """The operator's fault; the message says `file:line: ` and what to change."""


class Word(msgspec.Struct, frozen=True):
    text: str
    file: str
    line: int


class Line(msgspec.Struct, frozen=True):
    """One line inside a directive's braces, or a directive's own first line."""

    name: str
    args: tuple[str, ...]
    file: str
    line: int

    def error(self, message: str) -> CorefileError:
        """What is wrong with it. What stands in no file (a flag) has no line."""
        return CorefileError(f"{self.file}:{self.line}: {message}" if self.line else f"{self.file}: {message}")


class Directive(Line, frozen=True):
    body: tuple[Line, ...] = ()


class Block(msgspec.Struct, frozen=True):
    """`keys` as written, without commas."""

    keys: tuple[str, ...]
    directives: tuple[Directive, ...]
    file: str
    line: int

    def error(self, message: str) -> CorefileError:
        return CorefileError(f"{self.file}:{self.line}: {message}")


def nothing_imported(pattern: str, file: str) -> Sequence[tuple[str, str]]:
    """The reader for texts that may not import."""
    raise OSError(f"{pattern}: imports are not read here")


def blocks_of(
    text: str,
    file: str = "Corefile",
    environment: Mapping[str, str] | None = None,
    imported: Imported = nothing_imported,
) -> tuple[Block, ...]:
    """The server blocks of a Corefile. Raises CorefileError."""
    reader = _Reader(environment or {}, imported)
    return tuple(reader.blocks(_words(text, file)))


def _words(text: str, file: str) -> list[Word]:
    found: list[Word] = []
    at, line, size = int(text.startswith("\ufeff")), 1, len(text)
    while at < size:
        char = text[at]
        if char.isspace():
            line += char == "\n"
            at += 1
        elif char == "#":
            at = _end(text, at)
        elif char == '"':
            word, after = _quoted(text, at + 1)
            found.append(Word(word, file, line))
            line += text.count("\n", at, after)
            at = after
        else:
            start = at
            while at < size and not text[at].isspace() and text[at] != "#":
                at += 1
            found.append(Word(text[start:at].replace("\r", ""), file, line))
    return found


def _end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _quoted(text: str, at: int) -> tuple[str, int]:
    """The word up to the closing quote, and where the text goes on. Only a quote can be escaped."""
    word: list[str] = []
    while at < len(text) and text[at] != '"':
        if text[at] == "\\" and text[at + 1 : at + 2] == '"':
            at += 1
        word.append(text[at])
        at += 1
    return "".join(word), at + 1


def _lines(words: Sequence[Word]) -> list[list[Word]]:
    """The words by line. A quoted word may span lines; what follows it on its last line belongs to it."""
    lines: list[list[Word]] = []
    end = ("", 0)
    for word in words:
        if (word.file, word.line) != end or not lines:
            lines.append([])
        lines[-1].append(word)
        end = (word.file, word.line + word.text.count("\n"))
    return lines


class _Reader:
    def __init__(self, environment: Mapping[str, str], imported: Imported) -> None:
        self._environment = environment
        self._imported = imported
        self._snippets: dict[str, list[list[Word]]] = {}
        self._imports = 0

    def blocks(self, words: Sequence[Word]) -> list[Block]:
        found: list[Block] = []
        rest = _lines(words)[::-1]
        while rest:
            line = rest.pop()
            if line[0].text == "import":
                rest += self._import(line)[::-1]
                continue
            keys, opened = self._keys(line, rest)
            first = line[0]
            if len(keys) == 1 and keys[0].startswith("(") and keys[0].endswith(")"):
                self._define(first, keys[0][1:-1], rest, opened)
                continue
            directives = self._directives(first, rest, opened)
            if not opened and found:
                raise _error(first, f"'{first.text}' begins a server block: '{{' must end its line")
            found.append(Block(tuple(keys), tuple(directives), first.file, first.line))
        return found

    def _keys(self, line: list[Word], rest: list[list[Word]]) -> tuple[list[str], bool]:
        """The keys, which a comma carries over to the next line, and whether a brace follows them."""
        keys: list[str] = []
        while True:
            for word in line:
                text = self._expanded(word)
                if text == "{":
                    if word is not line[-1] or not keys or keys[-1].endswith(","):
                        raise _error(word, "'{' must end the line of a server block's keys")
                    return _named(keys), True
                if text == "}":
                    raise _error(word, "'}' without an opening brace")
                keys.append(text)
            if not keys[-1].endswith(","):
                return _named(keys), False
            if not rest:
                raise _error(line[-1], "another server block key must follow the comma")
            line = rest.pop()

    def _define(self, where: Word, name: str, rest: list[list[Word]], opened: bool) -> None:
        if name in self._snippets:
            raise _error(where, f"snippet '{name}' is defined twice")
        depth = 1
        body: list[list[Word]] = []
        while opened and rest:
            line = rest.pop()
            depth += (line[-1].text == "{") - (line[0].text == "}")
            if not depth:
                self._snippets[name] = body
                return
            body.append(line)
        raise _error(where, f"snippet '{name}' has no closing brace")

    def _directives(self, where: Word, rest: list[list[Word]], opened: bool) -> list[Directive]:
        found: list[Directive] = []
        while rest:
            line = rest.pop()
            if line[0].text == "import":
                rest += self._import(line)[::-1]
            elif line[0].text == "}":
                if not opened or len(line) > 1:
                    raise _error(line[-1], "'}' stands alone on its line, and after an opening brace")
                return found
            else:
                found.append(self._directive(line, rest))
        if opened:
            raise _error(where, f"server block '{where.text}' has no closing brace")
        return found

    def _directive(self, line: list[Word], rest: list[list[Word]]) -> Directive:
        name, *args = map(self._expanded, line)
        if name in "{}":
            raise _error(line[0], f"'{name}' where a plugin's name was expected")
        first = line[0]
        if not args or args[-1] != "{":
            return Directive(name, tuple(args), first.file, first.line)
        body: list[Line] = []
        while rest:
            inner = rest.pop()
            if inner[0].text == "import":
                rest += self._import(inner)[::-1]
                continue
            if inner[0].text == "}":
                if len(inner) > 1:
                    raise _error(inner[1], "'}' stands alone on its line")
                return Directive(name, tuple(args[:-1]), first.file, first.line, tuple(body))
            option, *values = map(self._expanded, inner)
            if values and values[-1] == "{":
                raise _error(inner[-1], f"'{option}' of {name} takes no block")
            body.append(Line(option, tuple(values), inner[0].file, inner[0].line))
        raise _error(first, f"'{name}' has no closing brace")

    def _import(self, line: list[Word]) -> list[list[Word]]:
        where = line[0]
        if len(line) != 2:
            raise _error(where, "import takes one snippet, file or pattern")
        self._imports += 1
        if self._imports > MOST_IMPORTS:
            raise _error(where, f"more than {MOST_IMPORTS} imports: does a file or a snippet import itself?")
        pattern = self._expanded(line[1])
        if pattern in self._snippets:
            return self._snippets[pattern]
        try:
            files = self._imported(pattern, where.file)
        except OSError as error:
            raise _error(where, f"import: {error}") from error
        return [one for path, text in files for one in _lines(_words(text, path))]

    def _expanded(self, word: Word) -> str:
        """The word with the environment's values; a variable that is not set is empty, as in a shell."""
        return _ENVIRONMENT.sub(lambda found: self._environment.get(found[1] or found[2], ""), word.text)


def _named(keys: Sequence[str]) -> list[str]:
    return [key for key in (one.removesuffix(",") for one in keys) if key]


def _error(word: Word, message: str) -> CorefileError:
    return CorefileError(f"{word.file}:{word.line}: {message}")
