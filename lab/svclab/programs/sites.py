"""What the web servers in the image table answer: `site NAME [--port PORT] [--version TAG] [FLAG...]`.

Every answer carries the pod's name in the header `X-Pod`, and `/hostname` says it as text: that is how load balancing
is counted. The texts are short ones of our own, except where people look for a phrase ("Welcome to nginx!").
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

from svclab.programs.fetching import fetched
from svclab.programs.messages import Request, Response
from svclab.programs.serving import Answer, Later, Peer, Serving
from svclab.programs.words import parse

HTML = "text/html; charset=utf-8"
JSON = "application/json; charset=utf-8"
KINDS = {"html": HTML, "css": "text/css", "js": "text/javascript", "json": JSON, "txt": "text/plain; charset=utf-8"}
READ_LIMIT = 4 << 20  # octets of a file that is served

Site = Callable[[dict[str, str]], Answer]


def main(words: list[str]) -> int:
    name, *rest = words or [""]
    if name not in SITES:
        print(f"site: {name!r} is none; there are: {', '.join(SITES)}", file=sys.stderr)
        return 2
    make, default_port = SITES[name]
    try:
        found, _ = parse(rest, {"port": default_port, "version": "latest", "listen": "", "text": ""})
        port = int(str(found["listen"]).rpartition(":")[2]) if found["listen"] else int(found["port"])
    except ValueError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    given = {
        "name": name,
        "pod": os.uname().nodename,
        "version": str(found["version"]),
        "text": str(found["text"]),
        **{key: value for key, value in os.environ.items() if key.startswith("RngApi__")},
    }
    server = Serving(f"{name}/{given['version']}")
    try:
        server.add_http(port, _named(make(given), given["pod"]))
    except OSError as error:
        print(f"{name}: {error.strerror}", file=sys.stderr)
        return 1
    print(f"{name}: pod {given['pod']}, version {given['version']}, listening on port {port}", flush=True)
    return server.run()


def _named(answer: Answer, pod: str) -> Answer:
    """The site with the pod's name in a header of each response, and on `/hostname`."""

    def add(response: Response) -> Response:
        return response._replace(headers=(*response.headers, ("X-Pod", pod)))

    def respond(request: Request, peer: Peer) -> Response | Later:
        if request.path == "/hostname":
            return add(Response(200, f"{pod}\n".encode()))
        found = answer(request, peer)
        return add(found) if isinstance(found, Response) else Later(lambda: add(found.answer()))

    return respond


def page(title: str, *paragraphs: str) -> bytes:
    body = "".join(f"<p>{each}</p>\n" for each in paragraphs)
    head = f"<!DOCTYPE html>\n<html>\n<head><title>{title}</title></head>\n"
    return f"{head}<body>\n<h1>{title}</h1>\n{body}</body>\n</html>\n".encode()


def _files(root: str, index: bytes) -> Answer:
    """The files below `root` if there are any, as a mounted volume brings them; else one page."""

    def respond(request: Request, peer: Peer) -> Response:
        if request.method not in ("GET", "HEAD"):
            return Response(405, page("405 Method Not Allowed"), HTML, (("Allow", "GET, HEAD"),))
        parts = [part for part in request.path.split("/") if part not in ("", ".")]
        if ".." in parts:
            return Response(400, page("400 Bad Request"), HTML)
        path = "/".join([root, *parts])
        if request.path.endswith("/"):
            path += "/index.html"
        try:
            with open(path, "rb") as file:
                kind = KINDS.get(path.rpartition(".")[2], "application/octet-stream")
                return Response(200, file.read(READ_LIMIT), kind)
        except PermissionError:
            return Response(403, page("403 Forbidden"), HTML)
        except (OSError, ValueError):  # ValueError: a zero octet in the path
            if request.path in ("/", "/index.html"):
                return Response(200, index, HTML)
            return Response(404, page("404 Not Found", f"Nothing at {_escaped(request.path)}."), HTML)

    return respond


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def nginx(given: dict[str, str]) -> Answer:
    welcome = page(
        "Welcome to nginx!",
        "This stands in for the nginx image, in a container of svcplane-lab.",
        f"Pod {given['pod']}, version {given['version']}.",
    )
    return _files("/usr/share/nginx/html", welcome)


def httpd(given: dict[str, str]) -> Answer:
    return _files("/usr/local/apache2/htdocs", page("It works!", f"Pod {given['pod']}, version {given['version']}."))


def myweb(given: dict[str, str]) -> Answer:
    return _fixed(f"Hello World!\n{given['pod']}\n")


def kubia(given: dict[str, str]) -> Answer:
    """`luksa/kubia` says which host was hit; its tags v2 and later say their version too."""
    version = given["version"]
    if version[:1] == "v" and version != "v1":
        return _fixed(f"This is {version} running in pod {given['pod']}\n")
    return _fixed(f"You've hit {given['pod']}\n")


def _fixed(text: str) -> Answer:
    said = text.encode()
    return lambda request, peer: Response(200, said)


def http_echo(given: dict[str, str]) -> Answer:
    """`hashicorp/http-echo`: always the text given by `-text`."""
    return _fixed(given["text"] + "\n")


def echo_server(given: dict[str, str]) -> Answer:
    """What came in, as JSON: the host asked for, the request, its headers, the client's address."""
    import json  # 1 MiB that the other sites do without

    def respond(request: Request, peer: Peer) -> Response:
        seen = {
            "host": {"hostname": request.host, "ip": peer.address, "pod": given["pod"]},
            "http": {"method": request.method, "originalUrl": request.line.split(" ")[1], "protocol": "http"},
            "request": {"query": request.query, "body": request.body.decode("utf-8", "replace")},
            "headers": dict(request.headers),
        }
        return Response(200, json.dumps(seen).encode() + b"\n", JSON)

    return respond


def numbers_api(given: dict[str, str]) -> Answer:
    """A random number from 0 to 99 at `/rng`, and at the path that a file of the same content has on GitHub."""

    def respond(request: Request, peer: Peer) -> Response:
        if request.path.rstrip("/").lower() in ("/rng", "/sixeyed/kiamol/master/ch03/numbers/rng"):
            return Response(200, str(int.from_bytes(os.urandom(8)) % 100).encode(), JSON)
        if request.path.lower() in ("/health", "/healthz"):
            return Response(200, b"Ok")
        return Response(404, b"")

    return respond


def numbers_web(given: dict[str, str]) -> Answer:
    """A page with a button; the button asks the API named by RngApi__Url.

    An API that answers 404 is asked once more as RngApi__RetryHost: behind an ExternalName stands a server that knows
    only its own name.
    """
    title = "KIAMOL Random Number Generator"
    url, retry = given.get("RngApi__Url", ""), given.get("RngApi__RetryHost", "")

    def ask() -> Response:
        begun = time.monotonic()
        try:
            status, body = fetched(url)
            if status == 404 and retry:
                status, body = fetched(url, host=retry)
            if status != 200:
                raise ValueError(f"status {status}")
            number = int(body)
        except (OSError, ValueError) as error:
            print(f"{url}: {error} (after {time.monotonic() - begun:.1f} s)", file=sys.stderr, flush=True)
            return Response(200, page(title, "RNG service unavailable!", f"(Using API at: {_escaped(url)})"), HTML)
        return Response(200, page(title, f"Here it is: {number}", f"(Using API at: {_escaped(url)})"), HTML)

    form = '<form method="post"><input type="submit" value="Go!"/></form>'

    def respond(request: Request, peer: Peer) -> Response | Later:
        if request.path not in ("/", "/Index"):
            return Response(404, b"")
        return Later(ask) if request.method == "POST" else Response(200, page(title, "Get a random number", form), HTML)

    return respond


SITES: dict[str, tuple[Site, int]] = {
    "nginx": (nginx, 80),
    "httpd": (httpd, 80),
    "myweb": (myweb, 8080),
    "kubia": (kubia, 8080),
    "http-echo": (http_echo, 5678),
    "echo-server": (echo_server, 80),
    "numbers-api": (numbers_api, 80),
    "numbers-web": (numbers_web, 80),
}
