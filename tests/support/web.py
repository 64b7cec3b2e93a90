#!/usr/bin/python3
"""A server in a pod. Port 80, HTTP and UDP: says its host's name and the address of who asks."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import gethostname
from socketserver import BaseRequestHandler, UDPServer


def greeting(client: str) -> bytes:
    return f"{gethostname()} {client}\n".encode()


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = greeting(self.client_address[0])
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Silent: the kubelet's probes come too."""


class Datagram(BaseRequestHandler):
    def handle(self) -> None:
        _, socket = self.request
        socket.sendto(greeting(self.client_address[0]), self.client_address)


if __name__ == "__main__":
    threading.Thread(target=UDPServer(("", 80), Datagram).serve_forever, daemon=True).start()
    ThreadingHTTPServer(("", 80), Page).serve_forever()
