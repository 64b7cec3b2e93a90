"""What the cluster says about names, ready to be asked: a look-up or two a question, one service rebuilt a change.

In: the store's `Change`s and the store itself. Out: `ServiceRecords` by key, targets by address, namespaces, pods by
address, and the zone's serial. What a client could see of a change is found out when the cluster changes; the records
of a service are made when it is asked for, and kept as long as others are not asked for more.

Which endpoints count (CoreDNS, DNS-SD 1.1.0): those whose condition `ready` is true or not given; `serving` and
`terminating` are not looked at. An endpoint's own label is its hostname, else its pod's name if so configured, else its
address with dashes. The slices of a service are read by name, addresses in slice order, so the answer does not
depend on the order of events. What is no IP address (an FQDN slice, a ClusterIP not yet given) has no record.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from ipaddress import ip_address
from operator import itemgetter
from typing import TypeAlias

import msgspec

from svcdns.names import dashed, relative
from svcdns.records import LONGEST_LABEL, Name, name_of, packed
from svckube.objects import Endpoint, EndpointSlice, KubeObject, Namespace, Pod, Service
from svckube.store import Change, Store

MOST_RECENT = 1024  # targets whose records are kept made
NO_PORT = -1  # stands for "no ports given": the endpoint has addresses, but no SRV records


Keys: TypeAlias = str | tuple[str, ...]
"""The key of one service, as in most cases, or those of several, sorted."""
Parts: TypeAlias = tuple[Service | None, tuple[EndpointSlice, ...], str]
"""What the records of a service are made of, and its key, which is held once."""
Places: TypeAlias = dict[int, Keys]
"""By address, as `_number` has it."""


class Port(msgspec.Struct, frozen=True):
    """Name and protocol in lower case; `name` is "" for an unnamed port."""

    name: str
    protocol: str
    number: int


class Target(msgspec.Struct, frozen=True):
    """Where an SRV or PTR record may lead. `name` lacks the zone: `\\3web\\4prod\\3svc`, or an endpoint below that."""

    name: bytes
    address: bytes
    ports: tuple[Port, ...]


class ServiceRecords(msgspec.Struct, frozen=True):
    """One service. `targets` are what its name stands for: its ClusterIPs, or its endpoints if it is headless.

    `v4`, `v6`: the targets' addresses without repetition. `external`: where an ExternalName leads, absolute.
    """

    targets: tuple[Target, ...] = ()
    v4: tuple[bytes, ...] = ()
    v6: tuple[bytes, ...] = ()
    endpoints: dict[str, tuple[Target, ...]] = {}
    external: Name | None = None
    headless: bool = False


NOTHING = ServiceRecords()


def service_records(
    service: Service | None,
    slices: Sequence[EndpointSlice],
    pod_names: bool = False,
    ignore_empty: bool = False,
    *,
    whole: bool = True,
) -> ServiceRecords:
    """A service and its slices as records. A service that is gone has none, nor has an ExternalName that is an IP.

    `ignore_empty`: nor has one with a ClusterIP and no endpoint that is ready. Unless `whole`, one with a ClusterIP is
    without its endpoints, which few ask for.
    """
    if service is None:
        return NOTHING
    spec = service.spec
    if spec.type == "ExternalName":
        return ServiceRecords(external=_external(spec.external_name))
    try:
        own = relative(service.metadata.name, service.metadata.namespace, "svc")
    except ValueError:
        return NOTHING  # no name in DNS; the API server lets no such Service through
    cluster_ips = spec.cluster_ips or (spec.cluster_ip,)
    headless = cluster_ips[0] == "None"
    found = (pair for one in slices for pair in _endpoints(one, own, pod_names))
    listed = list(found) if whole or headless else []
    if ignore_empty and not headless and not listed and next(found, None) is None:
        return NOTHING
    endpoints: dict[str, tuple[Target, ...]] = {}
    for label, target in listed:
        endpoints[label] = (*endpoints.get(label, ()), target)
    if headless:
        targets = tuple(target for _, target in listed)
    else:
        ports = tuple(Port(port.name.lower(), port.protocol.lower(), port.port) for port in spec.ports or ())
        targets = tuple(Target(own, ip, ports) for ip in map(packed, cluster_ips) if ip is not None)
    addresses = dict.fromkeys(target.address for target in targets)
    return ServiceRecords(
        targets=targets,
        v4=tuple(address for address in addresses if len(address) == 4),
        v6=tuple(address for address in addresses if len(address) == 16),
        endpoints=endpoints,
        headless=headless,
    )


def _external(host: str) -> Name | None:
    if not host or packed(host) is not None:
        return None
    try:
        return name_of(host)
    except ValueError:
        return None  # the API server lets no such name through


def _endpoints(
    one: EndpointSlice, own: bytes, pod_names: bool, only: bytes | None = None
) -> Iterator[tuple[str, Target]]:
    """Labels and targets of the endpoints that are ready; those with one address if `only` says which."""
    spelled = str(ip_address(only)) if only is not None else ""
    ports = tuple(
        Port((port.name or "").lower(), (port.protocol or "TCP").lower(), NO_PORT if port.port is None else port.port)
        for port in one.ports or ()
    ) or (Port("", "", NO_PORT),)
    for endpoint in one.endpoints or ():
        if endpoint.conditions.ready is False:
            continue
        for text in endpoint.addresses or ():
            if only is not None and text != spelled and ":" not in text:
                continue
            address = packed(text)
            if address is not None and only in (None, address):
                label = _label(endpoint, address, pod_names)
                yield label, Target(relative(label) + own, address, ports)


def _label(endpoint: Endpoint, address: bytes, pod_names: bool) -> str:
    if endpoint.hostname and len(endpoint.hostname.encode()) <= LONGEST_LABEL:
        return endpoint.hostname.lower()
    pod = endpoint.target_ref.name if pod_names and endpoint.target_ref is not None else ""
    return pod.lower() if 0 < len(pod) <= LONGEST_LABEL else dashed(address)


class _Recent:
    """Records that were asked for of late, of so many targets as MOST_RECENT in each of two generations."""

    def __init__(self) -> None:
        self._fresh: dict[str, ServiceRecords] = {}
        self._aged: dict[str, ServiceRecords] = {}
        self._size = 0

    def find(self, key: str) -> ServiceRecords | None:
        return self._fresh.get(key) or self._aged.get(key)

    def keep(self, key: str, records: ServiceRecords) -> None:
        size = len(records.targets) + len(records.endpoints) + 1
        if self._size + size > MOST_RECENT:
            self._fresh, self._aged, self._size = {}, self._fresh, 0
        self._fresh[key] = records
        self._size += size

    def forget(self, key: str) -> None:
        self._fresh.pop(key, None)
        self._aged.pop(key, None)


class Index:
    """The tables that `answer` reads. It belongs to the store's thread.

    What is held of a service are the objects that its records are made of, which the store holds too; the records are
    made when they are asked for. `serial`: Unix seconds of the last change that a client could see, 0 before the first.
    """

    def __init__(self, pod_names: bool = False, ignore_empty: bool = False) -> None:
        self.serial = 0
        self.namespaces: set[str] = set()
        self._pod_names = pod_names
        self._ignore_empty = ignore_empty
        self._services: dict[str, Parts] = {}
        self._recent, self._recent_whole = _Recent(), _Recent()
        self._by_cluster_ip: Places = {}
        self._by_endpoint: Places = {}
        self._pods: dict[bytes, Keys] = {}  # of each address the pods' namespaces, sorted, as often as there are pods

    def service(self, key: str) -> ServiceRecords | None:
        """The records of `namespace/name`, None if there is no such Service."""
        found = self._recent.find(key)
        if found is not None:
            return found
        parts = self._services.get(key)
        if parts is None:
            return None
        records = self._made(parts, whole=False)
        self._recent.keep(key, records)
        return records

    def endpoints(self, key: str) -> dict[str, tuple[Target, ...]]:
        """The endpoints of a service by label, of one with a ClusterIP too."""
        found = self._recent_whole.find(key)
        if found is None:
            found = self._made(self._services.get(key, (None, (), key)))
            self._recent_whole.keep(key, found)
        return found.endpoints

    def services(self) -> Iterator[tuple[str, ServiceRecords]]:
        """All services by key, sorted, whole."""
        return ((key, self._made(parts)) for key, parts in sorted(self._services.items(), key=itemgetter(0)))

    def snapshot(self) -> Index:
        """The index as it is now, whatever comes; for reading. Takes a few milliseconds in a large cluster."""
        found = copy(self)
        found.namespaces = set(self.namespaces)
        found._services, found._pods = self._services.copy(), self._pods.copy()
        found._recent, found._recent_whole = _Recent(), _Recent()
        found._by_cluster_ip, found._by_endpoint = self._by_cluster_ip.copy(), self._by_endpoint.copy()
        return found

    def has_pod(self, namespace: str, address: bytes) -> bool:
        """Whether a Pod of this namespace has the address. Always False if Pods are not watched."""
        return namespace in _keys(self._pods.get(address))

    def namespaces_at(self, address: bytes) -> tuple[str, ...]:
        """The namespaces of the Pods that have the address: one, unless it is a node's."""
        return tuple(dict.fromkeys(_keys(self._pods.get(address))))

    def has_endpoint(self, address: bytes) -> bool:
        """Whether an endpoint of any service has the address."""
        return _number(address) in self._by_endpoint

    def names_at(self, address: bytes) -> list[bytes]:
        """What PTR records of the address lead to, without the zone.

        The service with this ClusterIP (the first by key, should there be two), else every endpoint name, by service.
        """
        at_cluster_ip = _keys(self._by_cluster_ip.get(_number(address)))
        if at_cluster_ip:
            records = self.service(at_cluster_ip[0]) or NOTHING
            return [target.name for target in records.targets if target.address == address][:1]
        found: list[bytes] = []
        for key in _keys(self._by_endpoint.get(_number(address))):
            namespace, _, name = key.partition("/")
            own, (_, slices, _) = relative(name, namespace, "svc"), self._services[key]
            targets = (target for one in slices for _, target in _endpoints(one, own, self._pod_names, address))
            found += sorted({target.name for target in targets})
        return found

    def services_at(self, address: bytes) -> list[ServiceRecords]:
        """The services that have an endpoint with this address, by key."""
        return [self.service(key) or NOTHING for key in _keys(self._by_endpoint.get(_number(address)))]

    def apply(self, changes: Iterable[Change], store: Store, now: float) -> list[str]:
        """Takes the changes in, after the store did; returns the keys of the services whose records changed, sorted.

        `now`: Unix seconds, the serial's next value if anything changed.
        """
        touched: set[str] = set()
        pods = False
        for change in changes:
            if change.kind is Namespace:
                self._namespace(change)
            elif change.kind is Pod:
                pods |= self._pod(change)
            else:
                touched.update(change.service_keys)
        changed = [key for key in sorted(touched) if self._rebuild(key, store)]
        if changed or pods:
            self.serial = int(now)
        return changed

    def _made(self, parts: Parts, *, whole: bool = True) -> ServiceRecords:
        service, slices, _ = parts
        return service_records(service, slices, self._pod_names, self._ignore_empty, whole=whole)

    def _rebuild(self, key: str, store: Store) -> bool:
        """Takes the service's objects anew; whether its records are others now."""
        service, slices = store.get(Service, key), store.slices(key)
        before = self._services.get(key)
        key = key if before is None else before[2]
        new = self._made((service, slices, key))
        recent = self._recent.find(key)
        old = recent if recent is not None and recent.headless else self._recent_whole.find(key)
        if old is None and before is not None:
            old = self._made(before)
        self._recent.forget(key)
        self._recent_whole.forget(key)
        if recent is not None and service is not None:
            self._recent.keep(key, new)
        if service is None:
            self._services.pop(key, None)
        else:
            self._services[key] = (service, slices, key)
        if new == (old or NOTHING) and (service is None) == (old is None):
            return False
        _move(self._by_cluster_ip, key, _cluster_ips(old), _cluster_ips(new))
        _move(self._by_endpoint, key, _endpoint_addresses(old), _endpoint_addresses(new))
        return True

    def _namespace(self, change: Change) -> None:
        if change.new is None:
            self.namespaces.discard(change.key)
        else:
            self.namespaces.add(change.key)

    def _pod(self, change: Change) -> bool:
        old, new = _places(change.old), _places(change.new)
        for namespace, address in old - new:
            rest = list(_keys(self._pods.pop(address)))
            rest.remove(namespace)
            self._put_pods(address, rest)
        for namespace, address in new - old:
            self._put_pods(address, sorted((*_keys(self._pods.get(address)), namespace)))
        return old != new

    def _put_pods(self, address: bytes, namespaces: list[str]) -> None:
        if namespaces:
            self._pods[address] = namespaces[0] if len(namespaces) == 1 else tuple(namespaces)


def _number(address: bytes) -> int:
    """An address of 4 or 16 octets as a number, which takes less than octets do; no two have the same."""
    return int.from_bytes(address) if len(address) == 4 else int.from_bytes(address) | 1 << 128


def _cluster_ips(records: ServiceRecords | None) -> set[int]:
    if records is None or records.headless:
        return set()
    return {_number(target.address) for target in records.targets}


def _endpoint_addresses(records: ServiceRecords | None) -> set[int]:
    if records is None:
        return set()
    return {_number(target.address) for targets in records.endpoints.values() for target in targets}


def _keys(held: Keys | None) -> tuple[str, ...]:
    return (held,) if isinstance(held, str) else held or ()


def _move(table: Places, key: str, old: set[int], new: set[int]) -> None:
    for address in old - new:
        rest = tuple(one for one in _keys(table[address]) if one != key)
        if rest:
            table[address] = rest[0] if len(rest) == 1 else rest
        else:
            del table[address]
    for address in new - old:
        others = _keys(table.get(address))
        table[address] = tuple(sorted((*others, key))) if others else key


def _places(pod: KubeObject | None) -> set[tuple[str, bytes]]:
    if not isinstance(pod, Pod):
        return set()
    texts = {pod.status.pod_ip, *(one.ip for one in pod.status.pod_ips or ())}
    return {(pod.metadata.namespace, address) for address in map(packed, texts) if address is not None}
