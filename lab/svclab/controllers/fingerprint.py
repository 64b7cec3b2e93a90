"""Go's spelling of ports and subsets, hashed: the API's order of both is the order of these hashes (p).

In: ports and subsets of Endpoints and EndpointSlices, as JSON values. Out: the 16 bytes that Kubernetes sorts by
(k8s.io/utils/dump `ForHash`, then FNV-1a of 128 bits, as pkg/api/v1/endpoints and k8s.io/endpointslice/util do).
Nothing but the order depends on it; without it `kubectl get endpoints` would list the same ports in another order.
"""

from __future__ import annotations

from typing import Any

Body = dict[str, Any]

_OFFSET = 0x6C62272E07BB014262B821756295C58D
_PRIME = 0x0000000001000000000000000000013B
_MASK = (1 << 128) - 1


def fnv128a(text: str) -> bytes:
    """FNV-1a, 128 bits (draft-eastlake-fnv)."""
    value = _OFFSET
    for byte in text.encode():
        value = ((value ^ byte) * _PRIME) & _MASK
    return value.to_bytes(16, "big")


def of_subset_port(port: Body) -> bytes:
    """Of a port of an Endpoints subset."""
    return fnv128a("(v1.EndpointPort)" + _subset_port(port))


def of_slice_port(port: Body) -> bytes:
    """Of a port of an EndpointSlice, where every field is a pointer."""
    fields = (
        ("Name", "string", port.get("name") or ""),
        ("Protocol", "v1.Protocol", port.get("protocol") or "TCP"),
        ("Port", "int32", port.get("port")),
        ("AppProtocol", "string", port.get("appProtocol")),
    )
    return fnv128a("(v1.EndpointPort){" + " ".join(f"{n}:{_pointer(kind, value)}" for n, kind, value in fields) + "}")


def of_subset(subset: Body) -> bytes:
    """Of a whole subset, whose lists are in their final order."""
    ready, unready = (_list("v1.EndpointAddress", subset.get(name), _address) for name in _BOTH)
    ports = _list("v1.EndpointPort", subset.get("ports"), _subset_port)
    return fnv128a(f"(v1.EndpointSubset){{Addresses:{ready} NotReadyAddresses:{unready} Ports:{ports}}}")


_BOTH = ("addresses", "notReadyAddresses")


def _list(kind: str, items: list[Body] | None, spelled: Any) -> str:
    return f"([]{kind})" + (f"[{' '.join(spelled(item) for item in items)}]" if items else "<nil>")


def _subset_port(port: Body) -> str:
    protocol = port.get("protocol") or "TCP"
    name, application = port.get("name") or "", _pointer("string", port.get("appProtocol"))
    return (
        f"{{Name:(string){name} Port:(int32){port['port']} Protocol:(v1.Protocol){protocol} AppProtocol:{application}}}"
    )


def _address(address: Body) -> str:
    target = address.get("targetRef")
    node, hostname = _pointer("string", address.get("nodeName")), address.get("hostname") or ""
    return (
        f"{{IP:(string){address['ip']} Hostname:(string){hostname} NodeName:{node}"
        f" TargetRef:{_pointer('v1.ObjectReference', None if target is None else _reference(target))}}}"
    )


def _reference(target: Body) -> str:
    fields = (
        ("Kind", "string", "kind"),
        ("Namespace", "string", "namespace"),
        ("Name", "string", "name"),
        ("UID", "types.UID", "uid"),
        ("APIVersion", "string", "apiVersion"),
        ("ResourceVersion", "string", "resourceVersion"),
        ("FieldPath", "string", "fieldPath"),
    )
    return "{" + " ".join(f"{field}:({kind}){target.get(key) or ''}" for field, kind, key in fields) + "}"


def _pointer(kind: str, value: Any) -> str:
    return f"(*{kind})" + ("<nil>" if value is None else str(value))
