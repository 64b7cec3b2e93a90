"""The commands of Kubernetes' test image: netexec, serve-hostname, connect, porter, pause.

Flags, ports, paths and answers are those of `e2e-test-images/agnhost`, so that its users' commands work.
Missing: `/shell` and `/upload` of netexec (they run and store what anybody sends), SCTP, TLS, the other commands.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable

from svclab.programs.fetching import fetched
from svclab.programs.messages import Request, Response
from svclab.programs.serving import Later, Peer, Serving
from svclab.programs.words import parse

Values = dict[str, "str | int | bool"]


def main(words: list[str]) -> int:
    name, *rest = words or ["pause"]
    if name not in COMMANDS:
        print(f"agnhost: {name!r} is not here; there are: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    command, flags = COMMANDS[name]
    try:
        found, others = parse(rest, flags)
        return command(found, others)
    except ValueError as error:
        print(f"agnhost {name}: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"agnhost {name}: {error.strerror or error}", file=sys.stderr)
        return 1


def netexec(values: Values, words: list[str]) -> int:
    server = Serving("agnhost", linger=float(values["delay-shutdown"]) or None)
    server.add_http(int(values["http-port"]), _netexec_answer)
    if int(values["udp-port"]) >= 0:
        server.add_udp(int(values["udp-port"]), _netexec_echo)
    print(f"Started HTTP server on port {values['http-port']}, UDP server on port {values['udp-port']}", flush=True)
    return server.run()


def _netexec_answer(request: Request, peer: Peer) -> Response | Later:
    match request.path:
        case "/":
            return Response(200, time.strftime("NOW: %Y-%m-%d %H:%M:%S %z %Z").encode())
        case "/hostname" | "/hostName":
            return Response(200, os.uname().nodename.encode())
        case "/clientip":
            return Response(200, str(peer).encode())
        case "/echo":
            code = request.asked("code")
            return Response(int(code) if code.isdigit() else 200, request.asked("msg").encode())
        case "/header":
            return Response(200, request.headers.get(request.asked("key").lower(), "").encode())
        case "/healthz":
            return Response(200, b"")
        case "/dial":
            return Later(lambda: _dialled(request))
        case "/exit":
            os._exit(int(request.asked("code") or 0))
    return Response(404, b"404 page not found\n")


def _netexec_echo(datagram: bytes, peer: Peer) -> bytes | None:
    words = datagram.decode("utf-8", "replace").rstrip("\n").split(" ", 1)
    match words[0].lower():
        case "hostname":
            return os.uname().nodename.encode()
        case "clientip":
            return str(peer).encode()
        case "echo" if len(words) == 2:
            return words[1].encode()
    return None


def _dialled(request: Request) -> Response:
    """`/dial?host=&port=&request=hostname&protocol=http|udp&tries=1`: asks another pod and says what it said."""
    host, port = request.asked("host"), request.asked("port")
    what, tries = request.asked("request") or "hostname", request.asked("tries") or "1"
    if not (host and port.isdigit() and tries.isdigit()):
        return Response(400, b"host and port have to be given\n")
    responses, errors = [], []
    for _ in range(min(int(tries), 1000)):
        try:
            if request.asked("protocol") == "udp":
                responses.append(_asked_by_udp(host, int(port), what))
            else:
                responses.append(fetched(f"http://{host}:{port}/{what}")[1].decode("utf-8", "replace"))
        except (OSError, ValueError) as error:
            errors.append(str(error))
    import json  # 1 MiB that most pods never need

    said = {key: value for key, value in (("responses", responses), ("errors", errors)) if value}
    return Response(200, json.dumps(said).encode(), "application/json")


def _asked_by_udp(host: str, port: int, what: str) -> str:
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as sock:
        sock.settimeout(5)
        sock.connect(address)
        sock.send(what.encode())
        return sock.recv(2048).decode("utf-8", "replace")


def serve_hostname(values: Values, words: list[str]) -> int:
    server, port = Serving("agnhost"), int(values["port"])
    name = os.uname().nodename.encode()
    if values["udp"]:
        server.add_udp(port, lambda datagram, peer: name)
    if values["tcp"]:
        server.add_greeting(port, lambda peer: name)
    elif values["http"]:
        server.add_http(port, lambda request, peer: Response(200, name))
    print(f"Serving the host's name on port {port}", flush=True)
    return server.run()


def porter(values: Values, words: list[str]) -> int:
    """Serves the value of each variable SERVE_PORT_N on port N."""
    server = Serving("agnhost")
    ports = {key.removeprefix("SERVE_PORT_"): os.environ[key] for key in os.environ if key.startswith("SERVE_PORT_")}
    if not ports:
        raise ValueError("no variable SERVE_PORT_<number> says what to serve")
    for port, text in ports.items():
        said = Response(200, text.encode())
        server.add_http(int(port), lambda request, peer, said=said: said)  # type: ignore[misc]  # a default binds it
    print(f"Serving on ports {' '.join(ports)}", flush=True)
    return server.run()


def connect(values: Values, words: list[str]) -> int:
    """Exit status 0 if `HOST:PORT` can be connected to; else 1, and why in one of agnhost's four words."""
    host, colon, port = (words or [""])[0].rpartition(":")
    if not colon or not port.isdigit():
        raise ValueError("wants HOST:PORT")
    kind = socket.SOCK_DGRAM if values["protocol"] == "udp" else socket.SOCK_STREAM
    try:
        family, _, _, _, address = socket.getaddrinfo(host.strip("[]"), int(port), type=kind)[0]
        with socket.socket(family, kind) as sock:
            sock.settimeout(_seconds(str(values["timeout"])) or None)
            sock.connect(address)
            if kind == socket.SOCK_DGRAM:
                sock.send(b"hostname")
                sock.recv(2048)
    except socket.gaierror as error:
        print(f"DNS: {error.strerror}", file=sys.stderr)
    except TimeoutError:
        print("TIMEOUT", file=sys.stderr)
    except ConnectionRefusedError:
        print("REFUSED", file=sys.stderr)
    except OSError as error:
        print(f"OTHER: {error.strerror}", file=sys.stderr)
    else:
        return 0
    return 1


def _seconds(text: str) -> float:
    """A duration such as `1s`, `500ms`, `2m`."""
    for unit, size in (("ms", 0.001), ("s", 1.0), ("m", 60.0)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * size
    return float(text)


def pause(values: Values, words: list[str]) -> int:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    print("Paused", flush=True)
    while True:
        signal.pause()


COMMANDS: dict[str, tuple[Callable[[Values, list[str]], int], Values]] = {
    "netexec": (netexec, {"http-port": 8080, "udp-port": 8081, "delay-shutdown": 0}),
    "serve-hostname": (serve_hostname, {"port": 9376, "http": True, "tcp": False, "udp": False, "close": False}),
    "porter": (porter, {}),
    "connect": (connect, {"timeout": "0s", "protocol": "tcp"}),
    "pause": (pause, {}),
}
