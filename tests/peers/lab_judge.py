"""One script, two API servers: what they say, made comparable, and where they differ.

In: scripts of kubectl command lines or of raw requests (`lab_scripts_*.py`), and two `Seat`s: a server with the
administrator's kubeconfig. Out: a transcript per seat, and `differences` between two of them. Nothing is masked that a
program or a person could rely on; what is masked is what two real servers say differently too: uids, times, ages,
resource versions, random name ends, addresses and ports that the allocator chose, the server's own URL. An address or
a port that the script itself names is not masked.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shlex
import ssl
import subprocess
from base64 import b64decode
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from difflib import unified_diff
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from peers.reach import HttpServer
from support.waiting import eventually

KUBECTL_SECONDS = 60.0
REQUEST_SECONDS = 20.0


@dataclass(frozen=True)
class Seat:
    """Where a script is played: a running API server."""

    name: str
    kubectl: Path
    kubeconfig: Path
    folder: Path

    @property
    def content(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.kubeconfig.read_text())
        return content

    @property
    def url(self) -> str:
        return str(self.content["clusters"][0]["cluster"]["server"])

    def https(self, *, certificate: bool = True) -> HttpServer:
        """The server as raw requests reach it, as administrator or as nobody."""
        cluster, user = self.content["clusters"][0]["cluster"], self.content["users"][0]["user"]
        context = ssl.create_default_context(cadata=b64decode(cluster["certificate-authority-data"]).decode())
        if certificate:
            with NamedTemporaryFile(dir=self.folder) as pair:
                pair.write(b64decode(user["client-certificate-data"]) + b64decode(user["client-key-data"]))
                pair.flush()
                context.load_cert_chain(pair.name)
        address, _, port = self.url.rpartition("/")[2].rpartition(":")
        return HttpServer(address, int(port), tls=context)

    def connected(self, *, certificate: bool = True) -> http.client.HTTPSConnection:
        """A connection for many requests, as administrator or as nobody."""
        server = self.https(certificate=certificate)
        return http.client.HTTPSConnection(server.address, server.port, timeout=REQUEST_SECONDS, context=server.tls)


@dataclass(frozen=True)
class Said:
    """What one command or request was answered: parts by name, as comparable text."""

    asked: str
    parts: Mapping[str, str] = field(default_factory=dict)
    ordered: bool = True

    def part(self, name: str, masks: Sequence[tuple[str, str]]) -> list[str]:
        """The rows of one part, with more masked; sorted if their order is not compared."""
        text = self.parts[name]
        for pattern, mask in masks:
            text = re.sub(pattern, mask, text)
        return text.splitlines() if self.ordered else sorted(text.splitlines())


# Times, ages and the like: pattern, what stands for it.
RANDOM_END = "[bcdfghjklmnpqrstvwxz2456789]{5}"
MASKS = [
    (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "<uid>"),
    (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| ?[+-]\d\d:?\d\d)", "<time>"),
    (r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", "<time>"),
    (r"\beyJ[\w-]+\.[\w-]+\.[\w-]+", "<token>"),
    (r"X509SHA256=[0-9a-f]{64}", "<certificate>"),
    (r"(/tmp/(LIVE|MERGED|kubectl-edit)-)\d+", r"\1<random>"),
    (r'((?:resourceVersion|Resource Version)(?:\\*")?: *(?:\\*")?)\d+', r"\1<rv>"),
    (r"(ResourceVersion in record \()\d+", r"\1<rv>"),
    (r"(resource version: |current: )\d+( \(\d+\))?", r"\1<rv>"),
    (r',\\*"managedFields\\*":\[.*?\}\]', ""),
    (r'("continue": ?")[\w=-]+', r"\1<continue>"),
    (rf"(-|\.){RANDOM_END}(?![\w-])", r"\1<random>"),
    (r"(?<![\w.=-])(?<!for )(\d+[dhms]){1,2}(?![\w.-])", "<age>"),
    (r"(?<=\S) {2,}", "  "),
    (r" +$", ""),
    # A busy kube-apiserver takes a Service for one without an IPAddress until its own informer has seen that.
    (r"^.*\bClusterIPNotAllocated\b.*\n?", ""),
    (r"^Events:\n  Type  Reason .*\n  ----  ------ .*(\n(?!  )|\Z)", "Events:  <none>\n"),
]
# What allocators and the scheduler choose.
ALLOCATED = [
    (r"\b10\.96\.\d+\.\d+\b", "<cluster-ip>"),
    (r"\b10\.244\.\d+\.\d+\b", "<pod-ip>"),
    (r"(?<![\w.-])3[0-2]\d{3}(?![\w.-])", "<node-port>"),
    (r"(?<![\w.-])node[12](?![\w.-])", "<node>"),
]
KEPT = {"10.96.0.1"}


def comparable(text: str, seat: Seat, kept: frozenset[str] = frozenset()) -> str:
    """`text` with everything masked that must differ between two servers."""
    address = seat.url.rpartition("/")[2]
    text = text.replace(seat.url, "<server>").replace(address, "<server>")
    text = re.sub(rf"(?<!\d){address.rpartition(':')[2]}(?!\d)", "<port>", text)
    for pattern, mask in MASKS:
        text = re.sub(pattern, mask, text, flags=re.MULTILINE)
    for pattern, mask in ALLOCATED:
        for found in set(re.findall(pattern, text)) - kept - KEPT:
            text = re.sub(rf"(?<![\w.-]){re.escape(found)}(?![\w.-])", mask, text)
    return text


def named_in(script: str) -> frozenset[str]:
    """Addresses and ports that a script names itself: these are compared."""
    return frozenset(found for pattern, _ in ALLOCATED for found in re.findall(pattern, script))


# kubectl


@dataclass(frozen=True)
class Line:
    """One command line: `NAME=VALUE… kubectl's arguments [| lines REGEX] [| sorted]`, or a file to write."""

    argv: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    only: str = ""
    ordered: bool = True
    file: str = ""
    content: str = ""
    asked: str = ""


def lines_of(script: str) -> list[Line]:
    """A script is one command a line, without the word kubectl. `file NAME` writes the indented lines below it.

    `# …` is a comment. `| lines REGEX` keeps the lines of the output that match, where a real server has more to tell
    than ours. `| sorted` is for output in an order that is random on a real server.
    """
    lines: list[Line] = []
    rows = script.splitlines()
    while rows:
        row = rows.pop(0)
        if not row.strip() or row.startswith("#"):
            continue
        if row.startswith("file "):
            content = []
            while rows and (not rows[0].strip() or rows[0].startswith("  ")):
                content.append(rows.pop(0)[2:])
            lines.append(Line(file=row.split()[1], content="\n".join(content).rstrip() + "\n", asked=row))
            continue
        command, _, only = row.partition(" | lines ")
        command = command.partition(" | sorted")[0]
        words = shlex.split(command)
        environment = {}
        while re.fullmatch(r"[A-Z_]+=.*", words[0], re.DOTALL):
            name, _, environment[name] = words.pop(0).partition("=")
        lines.append(Line(tuple(words), environment, only, not row.endswith("| sorted"), asked=row))
    return lines


def played(script: str, seat: Seat, namespace: str) -> list[Said]:
    """The transcript of a kubectl script in `namespace`, which must exist unless the script does not need it."""
    folder = seat.folder / f"play-{namespace}"
    folder.mkdir()
    content = seat.content
    content["contexts"][0]["context"]["namespace"] = namespace
    kubeconfig = folder / ".kubeconfig"
    kubeconfig.write_text(json.dumps(content))
    kept = named_in(script)
    transcript = []
    for line in lines_of(script):
        if line.file:
            (folder / line.file).write_text(line.content)
            continue
        environment = {"KUBECONFIG": str(kubeconfig), "HOME": str(seat.folder), "PATH": os.environ["PATH"]}
        done = subprocess.run(
            (seat.kubectl, *line.argv),
            input="",
            env={**environment, **line.environment},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=KUBECTL_SECONDS,
            check=False,
        )
        parts = {"status": str(done.returncode)}
        for name, text in (("stdout", done.stdout), ("stderr", _without_chatter(done.stderr))):
            rows = comparable(text, seat, kept).splitlines()
            rows = [row for row in rows if name == "stderr" or re.search(line.only, row)]
            parts[name] = "\n".join(rows)
        transcript.append(Said(line.asked, parts, line.ordered))
    return transcript


CHATTER = r"client-side throttling|reflector\.go:\d+\].*(context deadline exceeded|very short watch)"


def _without_chatter(text: str) -> str:
    """Standard error without what kubectl's own log lines begin with, a time and a process id.

    Nor what it may log when its own deadline ends a watch over HTTP/1.1, of a real server too; ours has no HTTP/2.
    """
    rows = [row for row in text.splitlines() if not re.search(CHATTER, row)]
    return "\n".join(re.sub(r"^[IWE]\d{4} \S+\s+\d+ ", "", row) for row in rows)


# Raw requests


@dataclass(frozen=True)
class Ask:
    """One raw request. `{ns}` in path and body is the script's namespace; a body that is no str is sent as JSON.

    user      "admin" (client certificate), "nobody", or a bearer token
    only      of the answer's body, only these: paths of keys such as "metadata.name,items.0", "" for all
    named     of the items of each list in the body, only those whose `name` matches this; a real server serves more
    remember  `name=path.of.keys`: that value of the answer can be written as `{name}` in what follows
    note      why this row stands here
    """

    method: str
    path: str
    body: Any = None
    content_type: str = "application/json"
    accept: str = "application/json"
    user: str = "admin"
    only: str = ""
    named: str = ""
    remember: str = ""
    note: str = ""

    @property
    def asked(self) -> str:
        body = "" if self.body is None else f" {self.body if isinstance(self.body, str) else json.dumps(self.body)}"
        return f"{self.method} {self.path}{body}" + (f"  # {self.note}" if self.note else "")


# Who set a field, and the prose about the columns of a Table.
LEFT_OUT = {"managedFields", "description"}
COMPARED_HEADERS = ("Content-Type", "Warning")


def asked(script: Sequence[Ask], seat: Seat, namespace: str) -> list[Said]:
    """The transcript of raw requests."""
    transcript, memory = [], {"ns": namespace}
    kept = named_in(" ".join(ask.asked for ask in script))
    connections = {True: seat.connected(), False: seat.connected(certificate=False)}
    for ask in script:
        answer = _answer(connections[ask.user == "admin"], ask, memory)
        headers = {name.lower(): value for name, value in answer[1]}
        parts = {"status": str(answer[0])}
        for name in COMPARED_HEADERS:
            values = sorted(value for key, value in answer[1] if key.lower() == name.lower())
            parts[name] = comparable("\n".join(values), seat, kept)
        if ask.remember:
            name, _, path = ask.remember.partition("=")
            memory[name] = str(_at(json.loads(answer[2]), path))
        parts["body"] = comparable(_body_text(answer[2], headers.get("content-type", ""), ask), seat, kept)
        transcript.append(Said(ask.asked, parts))
    for connection in connections.values():
        connection.close()
    return transcript


def _answer(
    connection: http.client.HTTPSConnection, ask: Ask, memory: Mapping[str, str]
) -> tuple[int, list[tuple[str, str]], bytes]:
    path = _filled(ask.path, memory)
    body = ask.body if ask.body is None or isinstance(ask.body, str) else json.dumps(ask.body)
    headers = {"Accept": ask.accept}
    if body is not None:
        headers["Content-Type"] = ask.content_type
    if ask.user not in ("admin", "nobody"):
        headers["Authorization"] = f"Bearer {_filled(ask.user, memory)}"
    sent = None if body is None else _filled(body, memory).encode()
    connection.request(ask.method, path, sent, headers)
    response = connection.getresponse()
    return response.status, response.getheaders(), response.read()


def _filled(text: str, memory: Mapping[str, str]) -> str:
    for name, value in memory.items():
        text = text.replace("{" + name + "}", value)
    return text


def _body_text(body: bytes, content_type: str, ask: Ask) -> str:
    """JSON with sorted keys, one document a line of a watch; anything else as it came."""
    text = body.decode(errors="replace")
    if "json" not in content_type:
        return text
    documents = []
    for row in text.splitlines() if text.count("\n") > 1 and not text.startswith("{\n") else [text]:
        try:
            document = json.loads(row)
        except ValueError:
            return text
        documents += [_reduced(_at(document, path), ask.named) for path in ask.only.split(",")]
    return "\n".join(json.dumps(document, indent=1, sort_keys=True) for document in documents)


def _at(document: Any, path: str) -> Any:
    """`a.b.0` in a document; "" is all of it, and what is not there is None."""
    for key in path.split(".") if path else ():
        try:
            document = document[int(key) if isinstance(document, list) else key]
        except (KeyError, IndexError, TypeError, ValueError):
            return None
    return document


def _reduced(value: Any, named: str) -> Any:
    """Without what ours leaves out on purpose, and without items whose name does not match."""
    if isinstance(value, dict):
        return {key: _reduced(each, named) for key, each in value.items() if key not in LEFT_OUT}
    if isinstance(value, list):
        wanted = [
            each for each in value if not (isinstance(each, dict) and "name" in each) or re.search(named, each["name"])
        ]
        return [_reduced(each, named) for each in wanted]
    return value


# Both


def on_all(play: Any, script: Any, seats: Sequence[Seat], namespace: str) -> list[list[Said]]:
    """The transcripts of all seats, played at the same time."""
    with ThreadPoolExecutor(len(seats)) as players:
        return list(players.map(lambda seat: play(script, seat, namespace), seats))


def differences(real: Sequence[Said], ours: Sequence[Said], masks: Sequence[tuple[str, str]] = ()) -> dict[str, str]:
    """What was asked, and how the answers differ: a unified diff from the real server's to ours.

    `masks` are more patterns to hide, and what stands for them.
    """
    found: dict[str, str] = {}
    for number, (one, other) in enumerate(zip(real, ours, strict=True), 1):
        diffs = []
        for part in one.parts:
            rows = list(unified_diff(one.part(part, masks), other.part(part, masks), lineterm="", n=2))[2:]
            diffs += [f"  {part}", *(f"    {row}" for row in rows)] if rows else []
        if diffs:
            found[f"{number}: {one.asked}"] = "\n".join(diffs)
    return found


def unexpected(found: Mapping[str, str], accepted: Mapping[str, str]) -> list[str]:
    """What differs and may not, and what may differ and does not any more; each with its text."""
    seen = {row.partition(": ")[2] for row in found}
    wrong = [f"{row}\n{text}" for row, text in found.items() if row.partition(": ")[2] not in accepted]
    return wrong + [f"{row}\n  is accepted as different, and is the same" for row in accepted if row not in seen]


def made_namespace(seat: Seat, name: str) -> None:
    """A namespace that takes pods: its default service account is there."""
    admin = [Ask("POST", "/api/v1/namespaces", {"metadata": {"name": name}})]
    said = asked(admin, seat, name)[0].parts
    if said["status"] not in ("201", "409"):
        raise AssertionError(f"{seat.name}: {said}")
    account = [Ask("GET", "/api/v1/namespaces/{ns}/serviceaccounts/default")]
    eventually(lambda: asked(account, seat, name)[0].parts["status"] == "200", f"{seat.name}: {name} takes pods")
