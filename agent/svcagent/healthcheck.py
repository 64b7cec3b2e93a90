"""The health check node ports: where a load balancer asks whether a Service has endpoints on this node.

In: per Service with `healthCheckNodePort`, the port and the number of its local ready endpoints. Out: an HTTP server on
each of those ports, with kube-proxy 1.36's answers: any path and method, 200 while there is an endpoint and the rules
are up to date, else 503; the number is the weight in a header. IPv4 and IPv6 listen each for itself. The sockets are
made in the calling thread, so its network namespace counts. A port that cannot be had is reported, and tried again at
the next call.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping

from svcagent.resolve import Check
from svckube import observe
from svcnet.rules import Family

_BODY = """{{
\t"service": {{
\t\t"namespace": "{namespace}",
\t\t"name": "{name}"
\t}},
\t"localEndpoints": {endpoints},
\t"serviceProxyHealthy": {healthy}
}}"""
_EVERY = {"IPv4": "0.0.0.0", "IPv6": "::"}


def answer(service: str, endpoints: int, healthy: bool) -> observe.Answer:
    """The answer for a Service (`namespace/name`)."""
    namespace, _, name = service.partition("/")
    body = _BODY.format(namespace=namespace, name=name, endpoints=endpoints, healthy="true" if healthy else "false")
    headers = {"X-Content-Type-Options": "nosniff", "X-Load-Balancing-Endpoint-Weight": str(endpoints)}
    return 200 if endpoints and healthy else 503, "application/json", body.encode(), headers


class HealthChecks:
    """The listeners of one family. `healthy` is asked at every request, from other threads."""

    def __init__(self, family: Family, healthy: Callable[[], bool]) -> None:
        self._family = family
        self._healthy = healthy
        self._checks: dict[str, Check] = {}
        self._servers: dict[str, list[observe.Server]] = {}

    def update(self, wanted: Mapping[str, Check], addresses: Iterable[str] | None) -> dict[str, str]:
        """Opens, closes and updates until `wanted` holds; returns why, for each Service whose port cannot be had.

        `addresses` restricts where to listen; None listens on every address.
        """
        for service, check in self._checks.items():
            if service not in wanted or wanted[service].port != check.port:
                self._close(service)
        self._checks = dict(wanted)
        hosts = (_EVERY[self._family],) if addresses is None else tuple(addresses)
        failures = {}
        for service, check in wanted.items():
            if service not in self._servers:
                try:
                    self._servers[service] = self._open(service, check.port, hosts)
                except OSError as error:
                    failures[service] = f"cannot listen on health check node port {check.port}: {error.strerror}"
        return failures

    def close(self) -> None:
        """Stops listening on every port."""
        for service in list(self._servers):
            self._close(service)

    def _open(self, service: str, port: int, hosts: Iterable[str]) -> list[observe.Server]:
        family = socket.AF_INET if self._family == "IPv4" else socket.AF_INET6
        listening: list[socket.socket] = []
        try:
            for host in hosts:
                listening.append(socket.create_server((host, port), family=family, backlog=64))
        except OSError:
            for each in listening:
                each.close()
            raise
        return [observe.Server(each, {observe.ANY: lambda: self._answer(service)}) for each in listening]

    def _answer(self, service: str) -> observe.Answer:
        check = self._checks.get(service)
        return answer(service, check.endpoints if check else 0, self._healthy())

    def _close(self, service: str) -> None:
        for server in self._servers.pop(service, ()):
            server.close()
