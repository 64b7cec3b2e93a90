"""The lab's API semantics beside the real kube-apiserver: the same objects, the same answers.

Creations and updates are dry runs on the real server. Compared are the object (without what every server makes up:
uid, times, versions), the Status (code, reason, message, causes) and the warnings.
"""

from __future__ import annotations

import http.client
import itertools
import json
import re
import ssl
import time
from base64 import b64decode
from collections.abc import Iterator, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from peers.control_plane import ControlPlane
from peers.draw_shapes import drawn_internal, drawn_shapes
from peers.lab_strategy_pod_rows import POD_UPDATES, PODS, WORKLOAD_UPDATES, WORKLOADS
from peers.lab_strategy_rows import (
    CLUSTER_WIDE,
    GROUPS,
    METADATA,
    SERVICE_UPDATES,
    SERVICES,
    Create,
    Update,
    merged,
    plain,
)
from peers.lab_strategy_small_rows import SMALL, SMALL_UPDATES
from peers.lab_strategy_tables import TABLES
from svclab.apiserver.strategy import RefusedError, of, pod_difference, shapes
from svclab.apiserver.strategy.allocation import AllocationError, Holdings, Ranges, allocated
from svclab.apiserver.strategy.errors import FieldError, invalid

pytestmark = pytest.mark.peers

Body = dict[str, Any]
SERVICE_CIDR = "10.96.0.0/12"
MADE_UP = ("uid", "creationTimestamp", "managedFields", "resourceVersion", "generation")
CREATES = [
    *(Create(f"services: {name}", "services", patch) for name, patch in SERVICES.items()),
    *(Create(f"{kind}: {name}", kind, patch) for kind in ("services", "pods") for name, patch in METADATA.items()),
    *(Create(f"pods: {name}", "pods", patch) for name, patch in PODS.items()),
    *(Create(f"{kind}: {name}", kind, patch) for kind, rows in WORKLOADS.items() for name, patch in rows.items()),
    *(Create(f"{kind}: {name}", kind, patch) for kind, rows in SMALL.items() for name, patch in rows.items()),
]
UPDATES = [
    *(Update(f"{row.resource}: {row.id}", *row[1:]) for row in SERVICE_UPDATES),
    *(Update(f"{row.resource}: {row.id}", *row[1:]) for row in POD_UPDATES),
    *(Update(f"{row.resource}: {row.id}", *row[1:]) for row in WORKLOAD_UPDATES),
    *(Update(f"{row.resource}: {row.id}", *row[1:]) for row in SMALL_UPDATES),
]


class Answer:
    """What a server said: the HTTP status, the object or Status, the warnings."""

    def __init__(self, code: int, body: Body, warnings: list[str]) -> None:
        self.code, self.body, self.warnings = code, body, warnings

    @property
    def comparable(self) -> Body:
        said = {"code": self.code, "warnings": self.warnings}
        if self.body["kind"] == "Status":
            return {**said, "status": self.body}
        meta = {key: value for key, value in self.body["metadata"].items() if key not in MADE_UP}
        text = json.dumps({**self.body, "metadata": meta})
        text = re.sub(r"kube-api-access-\w{5}", "kube-api-access-x", text)
        return {
            **said,
            "object": json.loads(re.sub(r'"lastTransitionTime": "[^"]*"', '"lastTransitionTime": null', text)),
        }


class Real:
    """The real API server, by plain HTTP as administrator."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        config = json.loads(plane.kubeconfig().read_text())
        user = config["users"][0]["user"]
        names = {"client-certificate-data": folder / "user.crt", "client-key-data": folder / "user.key"}
        for key, file in names.items():
            file.write_bytes(b64decode(user[key]))
        context = ssl.create_default_context(cadata=plane.ca_certificate)
        context.load_cert_chain(*names.values())
        self._connection = http.client.HTTPSConnection("127.0.0.1", plane.port, context=context, timeout=30)

    def ask(self, method: str, path: str, body: Body | None = None, accept: str = "application/json") -> Answer:
        sent = None if body is None else json.dumps(body)
        self._connection.request(method, path, sent, {"Content-Type": "application/json", "Accept": accept})
        answer = self._connection.getresponse()
        warnings = [re.sub(r'^299 - "(.*)"$', r"\1", value) for value in answer.headers.get_all("Warning") or ()]
        plain_warnings = [value.replace('\\"', '"').replace("\\\\", "\\") for value in warnings]
        return Answer(answer.status, json.loads(answer.read()), plain_warnings)


@pytest.fixture(scope="module")
def real(binaries: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    controllers = ("serviceaccount-controller",)
    with ControlPlane(binaries, service_cidrs=(SERVICE_CIDR,), controllers=controllers) as plane:
        yield Real(plane, tmp_path_factory.mktemp("user"))


def path_of(resource: str) -> str:
    group = GROUPS.get(resource)
    prefix = f"/apis/{group}/v1" if group else "/api/v1"
    return f"{prefix}/{resource}" if resource in CLUSTER_WIDE else f"{prefix}/namespaces/default/{resource}"


def ours(
    resource: str,
    body: Body,
    old: Body | None = None,
    subresource: str = "",
    services: Sequence[Body] = (),
    dry_run: bool = True,
) -> Answer:
    """What the lab's API server would say, put together from the strategy's steps, where there are `services`."""
    group = GROUPS.get(resource, "")
    strategy = of(group, resource)
    new = strategy.defaulted(body)
    try:
        new = new if subresource else strategy.admitted(new, old)
        if resource == "services" and not subresource:
            used = Holdings(services).of_others(None)
            outcome = allocated(new, old, used, Ranges(ip_network(SERVICE_CIDR)), lambda _: 0, dry_run=dry_run)
            if isinstance(outcome, list):
                return refused(strategy.kind, group, body, outcome)
            new = outcome
    except AllocationError as error:
        return Answer(500, {"kind": "Status", "message": f"Internal error occurred: {error}"}, [])
    except RefusedError as error:
        message = f'{resource} "{body["metadata"]["name"]}" is forbidden: {error}'
        return Answer(403, {"kind": "Status", "message": message}, [])
    if old is None:
        new = strategy.prepared_for_create(new)
        errors = strategy.create_errors(new)
    else:
        new = strategy.prepared_for_update(new, old, subresource)
        errors = strategy.update_errors(new, old, subresource)
    if errors:
        return refused(strategy.kind, group, body, errors)
    return Answer(200 if old else 201, new, [] if subresource else strategy.warnings(new, old))


def refused(kind: str, group: str, body: Body, errors: list[FieldError]) -> Answer:
    return Answer(422, invalid(kind, group, body["metadata"]["name"], errors), [])


def agree(mine: Answer, theirs: Answer) -> None:
    """Answers 403 and 500 are compared by their message; the rest of that Status is the server's."""
    if theirs.code in (403, 500):
        assert (mine.code, mine.body.get("message")) == (theirs.code, theirs.body["message"])
        return
    theirs.warnings = [text for text in theirs.warnings if not text.startswith("v1 Endpoints is deprecated")]
    assert list(differences(mine.comparable, theirs.comparable)) == []


def differences(mine: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """Where two JSON values differ: path, ours, theirs."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for key in sorted({*mine, *theirs}):
            yield from differences(mine.get(key, "(missing)"), theirs.get(key, "(missing)"), f"{path}.{key}")
    elif isinstance(mine, list) and isinstance(theirs, list) and len(mine) == len(theirs):
        for index, (one, other) in enumerate(zip(mine, theirs, strict=True)):
            yield from differences(one, other, f"{path}[{index}]")
    elif mine != theirs:
        yield f"{path}: ours {mine!r}, theirs {theirs!r}"


@pytest.mark.parametrize("row", CREATES, ids=lambda row: row.id)
def test_create(real: Real, row: Create) -> None:
    body = merged(plain(row.resource, "x"), row.patch)
    theirs = real.ask("POST", f"{path_of(row.resource)}?dryRun=All", body)
    agree(ours(row.resource, body), theirs)


NUMBERS = itertools.count()


@pytest.mark.parametrize("row", UPDATES, ids=lambda row: row.id)
def test_update(real: Real, row: Update) -> None:
    name = f"x-{next(NUMBERS)}"
    stored = real.ask("POST", path_of(row.resource), merged(plain(row.resource, name), row.first))
    assert stored.code == 201, stored.body
    path = f"{path_of(row.resource)}/{name}"
    try:
        old = stored.body
        new = merged(old, row.change)
        sub = f"/{row.subresource}" if row.subresource else ""
        theirs = real.ask("PUT", f"{path}{sub}?dryRun=All", new)
        mine = ours(row.resource, new, old, row.subresource)
        agree(mine, theirs)
        if theirs.code == 200 and "generation" in old["metadata"] and not row.subresource:
            grown = theirs.body["metadata"]["generation"] > old["metadata"]["generation"]
            assert of(GROUPS.get(row.resource, ""), row.resource).spec_changed(mine.body, old) == grown
    finally:
        real.ask("DELETE", f"{path}?gracePeriodSeconds=0")


def rounded(cell: Any) -> Any:
    """Ages differ by a second between the servers."""
    return re.sub(r"^\d+s$", "seconds", cell) if isinstance(cell, str) else cell


@pytest.mark.parametrize("row", TABLES, ids=lambda row: row.id)
def test_table(real: Real, row: Update) -> None:
    name = f"x-{next(NUMBERS)}"
    stored = real.ask("POST", path_of(row.resource), merged(plain(row.resource, name), row.first))
    assert stored.code == 201, stored.body
    path = f"{path_of(row.resource)}/{name}"
    try:
        if row.change:
            changed = real.ask("PUT", f"{path}/{row.subresource}", merged(stored.body, row.change))
            assert changed.code == 200, changed.body
        table = real.ask("GET", path, accept="application/json;as=Table;v=v1;g=meta.k8s.io").body
        body = real.ask("GET", path).body
        strategy = of(GROUPS.get(row.resource, ""), row.resource)
        columns = [(one.name, one.type, one.format, one.priority) for one in strategy.columns()]
        heads = ("name", "type", "format", "priority")
        assert columns == [tuple(one[head] for head in heads) for one in table["columnDefinitions"]]
        theirs = [rounded(cell) for cell in table["rows"][0]["cells"]]
        assert [rounded(cell) for cell in strategy.cells(body, time.time())] == theirs
    finally:
        real.ask("DELETE", f"{path}?gracePeriodSeconds=0")


TAKEN: Body = {"spec": {"type": "NodePort", "clusterIP": "10.97.0.7", "ports": [{"port": 80, "nodePort": 30777}]}}
LOCAL: Body = {"spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}}


@pytest.mark.parametrize(
    "patch",
    [
        {"spec": {"clusterIP": "10.97.0.7"}},
        {"spec": {"clusterIP": "10.96.0.1"}},
        {"spec": {"clusterIP": "192.0.2.1"}},
        {"spec": {"clusterIP": "10.96.0.0"}},
        {"spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30777}]}},
        {"spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]}},
        {"spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 32768}]}},
        merged(LOCAL, {"spec": {"healthCheckNodePort": 30777}}),
        merged(LOCAL, {"spec": {"healthCheckNodePort": 29999}}),
    ],
    ids=lambda patch: json.dumps(patch["spec"]),
)
def test_what_is_taken_is_refused(real: Real, patch: Body) -> None:
    first = real.ask("POST", path_of("services"), merged(plain("services", "taken"), TAKEN))
    try:
        services = real.ask("GET", "/api/v1/services").body["items"]
        body = merged(plain("services", "x"), patch)
        theirs = real.ask("POST", path_of("services"), body)
        agree(ours("services", body, services=services, dry_run=False), theirs)
        assert theirs.code in (422, 500)
    finally:
        real.ask("DELETE", f"{path_of('services')}/{first.body['metadata']['name']}")
        real.ask("DELETE", f"{path_of('services')}/x")


def test_there_are_many_rows() -> None:
    assert len(CREATES) + len(UPDATES) >= 250


def test_tables_of_fields_are_those_of_the_sources() -> None:
    assert drawn_shapes() == shapes.FIELDS
    assert drawn_internal() == pod_difference.FIELDS


MIXED: dict[str, list[Body]] = {
    "services": [*SERVICES.values(), *METADATA.values()],
    "pods": [*PODS.values(), *METADATA.values()],
    **{kind: list(rows.values()) for kind, rows in (*WORKLOADS.items(), *SMALL.items())},
}


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_mixtures(real: Real, data: st.DataObject) -> None:
    """Two to four rows of one kind on top of each other."""
    resource = data.draw(st.sampled_from(sorted(MIXED)))
    body = plain(resource, "x")
    for patch in data.draw(st.lists(st.sampled_from(MIXED[resource]), min_size=2, max_size=4)):
        body = merged(body, patch)
    theirs = real.ask("POST", f"{path_of(resource)}?dryRun=All", body)
    if theirs.code != 400:  # types that contradict each other are the decoder's business
        agree(unordered(ours(resource, body)), unordered(theirs))


@pytest.fixture(scope="module")
def stored(real: Real) -> dict[str, list[Body]]:
    """Objects of every kind: those of the rows that the real server takes, a dozen at most."""
    kept: dict[str, list[Body]] = {}
    for resource, patches in MIXED.items():
        kept[resource] = []
        for number, patch in enumerate([{}, *patches]):
            name = f"mixed-{number}"
            body = merged(merged(plain(resource, name), patch), {"metadata": {"name": name}})
            if len(kept[resource]) < 12 and real.ask("POST", path_of(resource), body).code == 201:
                kept[resource].append(real.ask("GET", f"{path_of(resource)}/{name}").body)
    return kept


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_mixed_updates(real: Real, stored: dict[str, list[Body]], data: st.DataObject) -> None:
    """One or two rows on top of a stored object of the kind."""
    resource = data.draw(st.sampled_from(sorted(MIXED)))
    old = data.draw(st.sampled_from(stored[resource]))
    new = old
    for patch in data.draw(st.lists(st.sampled_from(MIXED[resource]), min_size=1, max_size=2)):
        new = merged(new, patch)
    new["metadata"]["name"] = old["metadata"]["name"]
    theirs = real.ask("PUT", f"{path_of(resource)}/{old['metadata']['name']}?dryRun=All", new)
    message = theirs.body.get("message", "")
    # Known: an error of the server without the usual words before it; a list that Go shows as empty and we as null.
    if theirs.code not in (400, 409) and not re.search(r'^duplicate nodePort|": \[\]', message):
        mine = ours(resource, new, old, services=stored["services"])
        agree(unordered(mine), unordered(theirs))


def unordered(answer: Answer) -> Answer:
    """The real server visits maps in random order, so with several causes only their set is the same every time."""
    causes = answer.body.get("details", {}).get("causes") or []
    if len(causes) < 2:
        return answer
    details = {**answer.body["details"], "causes": sorted(causes, key=json.dumps)}
    return Answer(answer.code, {**answer.body, "details": details, "message": ""}, answer.warnings)
