"""What every namespace gets, and how one goes. Pure.

A living namespace has the ServiceAccount `default` and the ConfigMap `kube-root-ca.crt`. A deleted one is emptied and
then let go, by taking the finalizer `kubernetes` off its spec.
"""

from __future__ import annotations

from collections.abc import Iterable

from svclab.controllers.kinds import KINDS
from svclab.controllers.pods import is_terminating
from svclab.controllers.reduce import Body, Create, DeleteAll, Outcome, Patch, Seen, Update, World, Write

FINALIZER = "kubernetes"
ROOT_CA = "kube-root-ca.crt"
NAMESPACED = tuple(plural for plural, kind in KINDS.items() if kind.namespaced)
WATCHED = tuple(plural for plural in NAMESPACED if plural != "events")


class NamespaceController:
    name = "namespace-controller"
    watches = ("namespaces", *WATCHED)

    def keys(self, seen: Seen, world: World) -> Iterable[str]:
        if seen.resource == "namespaces":
            return (seen.key,)
        namespace = seen.key.partition("/")[0]
        found = world.get("namespaces", namespace)
        return (namespace,) if found is not None and is_terminating(found) else ()

    def reconcile(self, key: str, world: World, now: float) -> Outcome:
        namespace = world.get("namespaces", key)
        if namespace is None or not is_terminating(namespace):
            return Outcome()
        finalizers = (namespace.get("spec") or {}).get("finalizers") or []
        if FINALIZER not in finalizers:
            return Outcome()
        full = {plural for plural in WATCHED if world.by_namespace(plural, key)}
        if full:
            alive = [
                plural for plural in WATCHED if any(not is_terminating(b) for b in world.by_namespace(plural, key))
            ]
            return Outcome(tuple(DeleteAll(plural, key) for plural in alive))
        left = [one for one in finalizers if one != FINALIZER]
        emptied: Body = {**namespace, "apiVersion": "v1", "kind": "Namespace"}
        emptied["spec"] = {**(namespace.get("spec") or {}), "finalizers": left}
        # Once more all kinds: what was made while we looked, and the events, which we do not watch.
        return Outcome((*(DeleteAll(plural, key) for plural in NAMESPACED), Update("namespaces", emptied, "finalize")))


class ServiceAccountController:
    name = "serviceaccount-controller"
    watches = ("namespaces", "serviceaccounts")

    def keys(self, seen: Seen, world: World) -> Iterable[str]:
        return (seen.key,) if seen.resource == "namespaces" else (seen.key.partition("/")[0],)

    def reconcile(self, key: str, world: World, now: float) -> Outcome:
        if not _lives(key, world) or world.get("serviceaccounts", f"{key}/default") is not None:
            return Outcome()
        body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": key}}
        return Outcome((Create("serviceaccounts", body),))


class RootCaController:
    """Without a certificate it does nothing."""

    name = "root-ca-certificate-publisher-controller"
    watches = ("namespaces", "configmaps")

    def __init__(self, certificate: str) -> None:
        self._data = {"ca.crt": certificate} if certificate else {}

    def keys(self, seen: Seen, world: World) -> Iterable[str]:
        if seen.resource == "namespaces":
            return (seen.key,)
        namespace, _, name = seen.key.partition("/")
        return (namespace,) if name == ROOT_CA else ()

    def reconcile(self, key: str, world: World, now: float) -> Outcome:
        if not self._data or not _lives(key, world):
            return Outcome()
        there = world.get("configmaps", f"{key}/{ROOT_CA}")
        if there is None:
            metadata = {"name": ROOT_CA, "namespace": key}
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": self._data}
            return Outcome((Create("configmaps", body),))
        if there.get("data") == self._data:
            return Outcome()
        surplus = dict.fromkeys(there.get("data") or {})
        change: list[Write] = [Patch("configmaps", f"{key}/{ROOT_CA}", {"data": {**surplus, **self._data}})]
        return Outcome(tuple(change))


def _lives(namespace: str, world: World) -> bool:
    found = world.get("namespaces", namespace)
    return found is not None and not is_terminating(found)
