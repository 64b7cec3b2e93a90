"""What it costs to read the API server: `python tests/bench/decoding.py`.

2000 EndpointSlices of 10 endpoints, as JSON that carries managedFields as a real server's does: read as a list and as a
watch, beside the official client's models; then a relist of 30,000 slices of which one differs, and one changed slice.
Prints the best of a few runs in milliseconds; asserts only that everything was read.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import msgspec
from kubernetes.client import ApiClient

from svckube.objects import EndpointSlice
from svckube.store import Listed, Store
from svckube.stream import Applied, Stream, page

RUNS = 5


def best(work: Callable[[], object], runs: int = RUNS) -> float:
    """Milliseconds of the fastest run."""
    took = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return min(took) * 1000


def slice_of(number: int, version: int = 1, endpoints: int = 10) -> dict[str, Any]:
    fields = {f"f:{name}": {".": {}, "f:x": {}} for name in ("addressType", "endpoints", "ports", "metadata")}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"svc-{number}-abcde",
            "namespace": "default",
            "resourceVersion": str(version),
            "labels": {"kubernetes.io/service-name": f"svc-{number}"},
            "managedFields": [{"manager": "kube-controller-manager", "fieldsV1": fields}],
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [
            {
                "addresses": [f"10.{number // 250 % 250}.{number % 250}.{each + 1}"],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "nodeName": f"node-{each}",
                "targetRef": {"kind": "Pod", "name": f"pod-{number}-{each}", "namespace": "default"},
            }
            for each in range(endpoints)
        ],
    }


def main() -> None:
    items = [slice_of(number) for number in range(2000)]
    body = json.dumps({"metadata": {"resourceVersion": "1"}, "items": items}).encode()
    events = b"".join(json.dumps({"type": "ADDED", "object": each}).encode() + b"\n" for each in items)
    assert len(page(body, EndpointSlice).objects) == len(Stream(EndpointSlice).feed(events)) == 2000
    print(f"list of 2000 x 10 ({len(body) / 1e6:.1f} MB)   {best(lambda: page(body, EndpointSlice)):8.1f} ms")
    print(f"the same as a watch            {best(lambda: Stream(EndpointSlice).feed(events)):8.1f} ms")
    text = body.decode()
    models = best(lambda: ApiClient().deserialize(text, "V1EndpointSliceList", "application/json"), 1)
    print(f"the client's own models        {models:8.1f} ms")
    many = [msgspec.convert(slice_of(number, endpoints=5), EndpointSlice) for number in range(30_000)]
    store = Store([EndpointSlice])
    store.apply(Listed(EndpointSlice, tuple(many)))
    other = msgspec.convert(slice_of(7, version=2, endpoints=4), EndpointSlice)
    relisted = Listed(EndpointSlice, (*many[:7], other, *many[8:]))
    began = time.perf_counter()
    assert len(store.apply(relisted)) == 1
    print(f"relist of 30,000, one differs  {(time.perf_counter() - began) * 1000:8.1f} ms")
    began = time.perf_counter()
    assert len(store.apply(Applied(many[7]))) == 1
    print(f"one changed slice              {(time.perf_counter() - began) * 1000:8.3f} ms")


if __name__ == "__main__":
    main()
