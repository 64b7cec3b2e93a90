"""The Corefile's `kubernetes`: which API server, which objects of it, which names.

In: the directive and the zones of its server block. Out: a `Source`. Refuses what CoreDNS has and we do not
(`multicluster`, `zonal`) by name, like what nobody has.
"""

from __future__ import annotations

from svcdns.addresses import served
from svcdns.corefile import Directive, Line
from svcdns.directives import Found, any_number, counted, flag, names, number, options, seconds
from svcdns.records import Name
from svcdns.settings import ROOT, Certificates, Source


def kubernetes(directive: Directive, zones: tuple[Name, ...]) -> Source:
    """The stanza as a value; zones of its own replace those of the server block. Raises CorefileError."""
    found = options(directive, _OPTIONS)
    if found.get("namespaces") and found.get("namespace_labels"):
        raise directive.error("kubernetes: namespaces and namespace_labels cannot both be set")
    own = names(directive, directive.args) or zones
    ttl, pods, through = found.pop("ttl", 5), found.pop("pods", "disabled"), found.pop("fallthrough", ())
    try:
        where = served(own, ttl, pods, through)
    except ValueError as error:
        raise directive.error(f"kubernetes: {error}") from None
    return Source(found.pop("kubeconfig", ""), found.pop("server", ""), where, **found)


def _pods(line: Line, found: Found) -> None:
    (mode,) = counted(line, 1)
    if mode not in ("disabled", "verified", "insecure"):
        raise line.error(f"wrong value for pods: {mode}, must be one of: disabled, verified, insecure")
    found["pods"] = mode


def _ttl(line: Line, found: Found) -> None:
    found["ttl"] = number(line, counted(line, 1)[0], 0, 3600)


def _namespaces(line: Line, found: Found) -> None:
    found["namespaces"] = found.get("namespaces", frozenset()) | frozenset(any_number(line))


def _endpoint(line: Line, found: Found) -> None:
    url = any_number(line)[0]  # CoreDNS too uses the first of several
    found["server"] = url if "://" in url else f"http://{url}"


def _tls(line: Line, found: Found) -> None:
    found["certificates"] = Certificates(*counted(line, 3))


def _selector(line: Line, found: Found) -> None:
    found[line.name] = " ".join(any_number(line))


def _kubeconfig(line: Line, found: Found) -> None:
    words = counted(line, 1, 2)
    found["kubeconfig"], found["context"] = words[0], "".join(words[1:])


def _fallthrough(line: Line, found: Found) -> None:
    found["fallthrough"] = names(line, line.args) or (ROOT,)


def _ignore(line: Line, found: Found) -> None:
    if counted(line, 1)[0] != "empty_service":
        raise line.error(f"unable to parse ignore value: '{line.args[0]}'; there is: empty_service")
    found["ignore_empty"] = True


_OPTIONS = {
    "endpoint": _endpoint,
    "endpoint_pod_names": flag("endpoint_pod_names"),
    "fallthrough": _fallthrough,
    "ignore": _ignore,
    "kubeconfig": _kubeconfig,
    "labels": _selector,
    "namespace_labels": _selector,
    "namespaces": _namespaces,
    "noendpoints": flag("endpoints", False),
    "pods": _pods,
    "startup_timeout": seconds("startup_timeout"),
    "tls": _tls,
    "ttl": _ttl,
}
