"""Which program stands for an image: a table, and how a reference finds its row.

In: a reference as in a Pod (`nginx`, `docker.io/library/nginx:1.27`, `exec:///usr/bin/top`), images of the user's own,
and where the built-in programs are. Out: an `Image`. Refuses a reference that cannot be one (`InvalidImageError`) and
one that the table does not know (`UnknownImageError`, which says how to map it).

The registry is ignored, so a mirror's name finds the same row; so are digests. A tag changes nothing but the version
that a web server shows, which is how a rolling update is seen. Entrypoint and command are as in Docker.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

import msgspec

EXEC = "exec://"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?:(?P<registry>localhost(?::[0-9]+)?|[A-Za-z0-9.-]+(?::[0-9]+)|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)/)?"
    rf"(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?:@(?P<digest>[a-z0-9]+(?:[+._-][a-z0-9]+)*:[0-9a-fA-F]{32,}))?"
)


class UnknownImageError(LookupError):
    """No such image; the message says how to map it."""


class InvalidImageError(UnknownImageError):
    """The reference can be no image's name."""


class Image(msgspec.Struct, frozen=True):
    """`entrypoint` and `command` as Docker's ENTRYPOINT and CMD; `ports` are those that the image's program opens."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = {}
    working_directory: str = "/"
    ports: tuple[int, ...] = ()

    def argv(self, command: tuple[str, ...] = (), arguments: tuple[str, ...] = ()) -> tuple[str, ...]:
        """What a container runs: a pod's `command` replaces entrypoint and command, its `args` the command alone."""
        if command:
            return command + arguments
        return self.entrypoint + (arguments or self.command)


class Reference(NamedTuple):
    """`path` without the registry and without Docker's `library/`; `tag` is `latest` if none is written."""

    path: str
    tag: str


class Programs(NamedTuple):
    """Where things are: the interpreter that runs us, its folder, and the script that starts built-in programs."""

    python: str
    folder: str
    start: str


def parse(reference: str) -> Reference:
    """InvalidImageError, with the wording of the container runtimes, for what is no reference."""
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        why = "invalid reference format"
        if _REFERENCE.fullmatch(reference.lower()):
            why += f": repository name ({reference.partition(':')[0]}) must be lowercase"
        raise InvalidImageError(f'couldn\'t parse image name "{reference}": {why}')
    return Reference(found["path"].removeprefix("library/"), found["tag"] or "latest")


def find(reference: str, extra: Mapping[str, Image], programs: Programs) -> Image:
    """The image that a reference stands for. `extra` comes first, by the reference as written or by its path."""
    if reference.startswith(EXEC):
        return _host_command(reference)
    if reference in extra:
        return extra[reference]
    path, tag = parse(reference)
    if path in extra:
        return extra[path]
    row = _TABLE.get(path)
    if row is None:
        raise UnknownImageError(
            f'"{reference}" is not in the image table (there are no registries here): map it in the file given by '
            f'--images, as "{path}: {{exec: [/path/of/command]}}", or use an image exec:///path/of/command'
        )
    return row(programs, tag)


def _host_command(reference: str) -> Image:
    path = reference.removeprefix(EXEC)
    if not path.startswith("/") or path.endswith("/"):
        raise InvalidImageError(f'couldn\'t parse image name "{reference}": exec:// wants an absolute path')
    return Image(entrypoint=(path,), environment={"PATH": PATH})


Row: TypeAlias = Callable[[Programs, str], Image]
"""An image, given where the programs are and the tag."""


def _site(name: str, port: int, environment: Mapping[str, str] | None = None) -> Row:
    """A web server of `svclab.programs.sites`."""

    def row(programs: Programs, tag: str) -> Image:
        start = _started(programs, "site", name, "--port", str(port), "--version", tag)
        return Image(start, (), {"PATH": PATH, **(environment or {})}, "/", (port,))

    return row


def _shell(*command: str, entrypoint: tuple[str, ...] = ()) -> Row:
    """Host commands; without arguments `command` runs, and a shell without a terminal ends at once."""
    return lambda programs, tag: Image(entrypoint, command, {"PATH": PATH})


def _agnhost(programs: Programs, tag: str) -> Image:
    return Image(_started(programs, "agnhost"), ("pause",), {"PATH": PATH})


def _pause(programs: Programs, tag: str) -> Image:
    return Image(_started(programs, "agnhost", "pause"), (), {"PATH": PATH})


def _serve_hostname(programs: Programs, tag: str) -> Image:
    return Image(_started(programs, "agnhost", "serve-hostname"), (), {"PATH": PATH}, "/", (9376,))


def _python(programs: Programs, tag: str) -> Image:
    """`python` is the interpreter that runs us: hosts have it under one name or the other."""
    return Image((), ("python3",), {"PATH": f"{programs.folder}:{PATH}"})


def _dns(programs: Programs, tag: str) -> Image:
    return Image((programs.python, "-m", "svcdns.cli"), ("run", "--in-cluster"), {"PATH": PATH}, "/", (53,))


def _started(programs: Programs, *words: str) -> tuple[str, ...]:
    return (programs.python, "-S", "-E", programs.start, *words)


# The entrypoint of the curl images: flags and URLs go to curl, a command that exists is run.
_CURL = 'case "$1" in -*) exec curl "$@";; esac; command -v "$1" >/dev/null && exec "$@"; exec curl "$@"'
# A shell as the first process ignores SIGTERM unless it traps it.
_SLEEP = "trap 'exit 0' TERM INT; while :; do sleep 1000 & wait $!; done"
_NUMBERS = {
    "RngApi__Url": "http://numbers-api/sixeyed/kiamol/master/ch03/numbers/rng",
    "RngApi__RetryHost": "raw.githubusercontent.com",
}

_MYWEB, _SLEEPER, _TOOLS = _site("myweb", 8080), _shell("sh", "-c", _SLEEP), _shell("sleep", "infinity")

_TABLE: dict[str, Row] = {
    "nginx": _site("nginx", 80),
    "nginxinc/nginx-unprivileged": _site("nginx", 8080),
    "httpd": _site("httpd", 80),
    "minjulee226/myweb": _MYWEB,
    "c1t1d0s7/myweb": _MYWEB,
    "kubia": _site("kubia", 8080),
    "luksa/kubia": _site("kubia", 8080),
    "hashicorp/http-echo": _site("http-echo", 5678),
    "ealen/echo-server": _site("echo-server", 80),
    "kiamol/ch03-numbers-api": _site("numbers-api", 80),
    "kiamol/ch03-numbers-web": _site("numbers-web", 80, _NUMBERS),
    "kiamol/ch03-sleep": _SLEEPER,
    "busybox": _shell("sh"),
    "alpine": _shell("/bin/sh"),
    "debian": _shell("bash"),
    "ubuntu": _shell("bash"),
    "curlimages/curl": _shell("curl", entrypoint=("sh", "-c", _CURL, "sh")),
    "e2e-test-images/jessie-dnsutils": _TOOLS,
    "e2e-test-images/agnhost": _agnhost,
    "e2e-test-images/nginx": _site("nginx", 80),
    "e2e-test-images/httpd": _site("httpd", 80),
    "e2e-test-images/busybox": _shell("sh"),
    "jessie-dnsutils": _TOOLS,
    "dnsutils": _TOOLS,
    "tutum/dnsutils": _TOOLS,
    "c1t1d0s7/network-multitool": _site("nginx", 80),
    "wbitt/network-multitool": _site("nginx", 80),
    "praqma/network-multitool": _site("nginx", 80),
    "nicolaka/netshoot": _shell("bash"),
    "netshoot": _shell("bash"),
    "python": _python,
    "agnhost": _agnhost,
    "serve_hostname": _serve_hostname,
    "serve-hostname": _serve_hostname,
    "pause": _pause,
    "svcplane-dns": _dns,
}


def known() -> list[str]:
    """Every name in the table."""
    return sorted(_TABLE)


_FIELDS = {"exec", "command", "env", "workingDir", "ports"}


def checked(document: object, source: str) -> dict[str, Image]:
    """The user's own images: name → {exec: [...], command: [...], env: {...}, workingDir: ..., ports: [...]}.

    ValueError naming the source and the entry for anything else; an empty document is no images.
    """
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ValueError(f"{source}: at the top stand image names, each with its entry")
    return {str(name): _entry(entry, f"{source}: image {name!r}") for name, entry in document.items()}


def _entry(entry: object, where: str) -> Image:
    if not isinstance(entry, dict) or not entry:
        raise ValueError(f"{where}: write a mapping such as {{exec: [/path/of/command]}}")
    unknown = [str(key) for key in entry if key not in _FIELDS]
    if unknown:
        raise ValueError(f"{where}: {unknown[0]!r} is unknown; there are: {', '.join(sorted(_FIELDS))}")
    entrypoint, command = (_words(entry.get(key, []), f"{where}: {key}") for key in ("exec", "command"))
    if not entrypoint + command:
        raise ValueError(f"{where}: `exec` or `command` has to say what runs")
    environment = entry.get("env", {})
    if not isinstance(environment, dict) or not all(isinstance(value, str | int) for value in environment.values()):
        raise ValueError(f"{where}: env is a mapping from names to texts")
    directory = entry.get("workingDir", "/")
    if not isinstance(directory, str) or not directory.startswith("/"):
        raise ValueError(f"{where}: workingDir is an absolute path")
    ports = entry.get("ports", [])
    if not isinstance(ports, list) or not all(isinstance(port, int) and 0 < port < 65536 for port in ports):
        raise ValueError(f"{where}: ports is a list of numbers from 1 to 65535")
    variables = {"PATH": PATH, **{str(name): str(value) for name, value in environment.items()}}
    return Image(entrypoint, command, variables, directory, tuple(ports))


def _words(words: object, where: str) -> tuple[str, ...]:
    if not isinstance(words, list) or not all(isinstance(word, str | int | float) for word in words):
        raise ValueError(f"{where} is a list of words, such as [sleep, infinity]")
    return tuple(str(word) for word in words)
