"""The API's semantics without a server: texts, quantities, allocation, and that nothing is changed in place.

What the words must be is judged by the real kube-apiserver in tests/peers/test_lab_strategy.py; here is what must hold
for every input, and what a dry run cannot show.
"""

from __future__ import annotations

import json
from fractions import Fraction
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svclab.apiserver.strategy import STRATEGIES, RefusedError, errors, of, printed, quantity
from svclab.apiserver.strategy.allocation import AllocationError, Holdings, InUse, Ranges, allocated
from svclab.apiserver.strategy.pod_defaults import pull_policy
from svclab.apiserver.strategy.pod_rules import quality_of_service

Body = dict[str, Any]
RANGES = Ranges(ip_network("10.96.0.0/12"))
SMALL = Ranges(ip_network("10.96.0.0/29"), (30000, 30003))


def service(name: str = "web", **spec: Any) -> Body:
    given = {"ports": [{"port": 80}], **spec}
    return of("", "services").defaulted({"metadata": {"name": name, "namespace": "default"}, "spec": given})


def first(_: int) -> int:
    return 0


def last(n: int) -> int:
    return n - 1


def taken(service: Body, used: InUse, ranges: Ranges = RANGES, old: Body | None = None) -> Body:
    outcome = allocated(service, old, used, ranges, first)
    assert isinstance(outcome, dict), outcome
    return outcome


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (errors.required("a.b"), "a.b: Required value"),
        (errors.required("a", "must be"), "a: Required value: must be"),
        (errors.wrong("a", 'x"y\n', "no"), 'a: Invalid value: "x\\"y\\n": no'),
        (errors.wrong("a", 5, "no"), "a: Invalid value: 5: no"),
        (errors.wrong("a", None, "no"), "a: Invalid value: null: no"),
        (errors.wrong("a", ["x<"], "no"), 'a: Invalid value: ["x\\u003c"]: no'),
        (errors.unsupported("a", "x", ("b", "c")), 'a: Unsupported value: "x": supported values: "b", "c"'),
        (errors.duplicate("a", {"B": True}), 'a: Duplicate value: {"B":true}'),
        (errors.forbidden("a", "never"), "a: Forbidden: never"),
        (errors.not_found("a", "x"), 'a: Not found: "x"'),
        (errors.too_long("a", 1), "a: Too long: may not be more than 1 byte"),
        (errors.too_many("a", 3, 1), "a: Too many: 3: must have at most 1 item"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_errors_read_as_the_api_writes_them(error: errors.FieldError, text: str) -> None:
    assert error.message == text


def test_a_text_said_twice_is_said_once_in_the_message_and_twice_in_the_causes() -> None:
    same = errors.required("spec.a")
    status = errors.invalid("Deployment", "apps", "web", [same, errors.required("spec.b"), same])
    assert status["message"] == ('Deployment.apps "web" is invalid: [spec.a: Required value, spec.b: Required value]')
    assert [cause["field"] for cause in status["details"]["causes"]] == ["spec.a", "spec.b", "spec.a"]
    assert errors.invalid("Pod", "", "web", [same])["message"] == 'Pod "web" is invalid: spec.a: Required value'


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0.5", "500m"),
        ("1000m", "1"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Mi", "512Ki"),
        ("1e3", "1e3"),
        ("1000e0", "1e3"),
        ("0", "0"),
        ("0Gi", "0"),
        ("-2k", "-2k"),
        ("1500", "1500"),
        ("1000Ki", "1000Ki"),
        ("100Mi", "100Mi"),
        ("1000k", "1M"),
        ("0.5Ki", "512"),
        ("1.1Ki", "1126400m"),
        (2, "2"),
    ],
)
def test_quantities_in_canonical_form(text: str, canonical: str) -> None:
    assert quantity.canonical(text) == canonical


@given(st.integers(-(10**12), 10**12), st.sampled_from(["", "m", "k", "M", "Ki", "Mi", "Gi", "e3", "e-2"]))
def test_a_canonical_quantity_is_the_same_amount_and_stays_canonical(number: int, suffix: str) -> None:
    text = f"{number}{suffix}"
    canonical = quantity.canonical(text)
    assert quantity.value(canonical) == quantity.value(text)
    assert quantity.canonical(canonical) == canonical


@pytest.mark.parametrize("text", ["", "1.2.3", "1 Gi", "Gi", "1gi", "0x1", "1e"])
def test_what_is_no_quantity_raises(text: str) -> None:
    with pytest.raises(ValueError, match="quantities must match"):
        quantity.parsed(text)


def test_quantities_are_exact() -> None:
    assert quantity.value("0.1") * 10 == Fraction(1)


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1", "IfNotPresent"),
        ("registry.example:5000/nginx", "Always"),
        ("nginx@sha256:" + "0" * 64, "IfNotPresent"),
        ("", "IfNotPresent"),
        ("not an image", "IfNotPresent"),
    ],
)
def test_pull_policy(image: str, policy: str) -> None:
    assert pull_policy(image) == policy


@pytest.mark.parametrize(
    ("resources", "quality"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}, "Burstable"),
        ({"requests": {"a.example/b": "1"}}, "BestEffort"),
        ({"requests": {"cpu": "0"}}, "BestEffort"),
    ],
)
def test_quality_of_service(resources: Body, quality: str) -> None:
    assert quality_of_service({"containers": [{"resources": resources}]}) == quality


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-0.5, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (599, "9m59s"),
        (600, "10m"),
        (10799, "179m"),
        (10800, "3h"),
        (11000, "3h3m"),
        (8 * 3600, "8h"),
        (47 * 3600, "47h"),
        (48 * 3600, "2d"),
        (50 * 3600, "2d2h"),
        (8 * 86400, "8d"),
        (729 * 86400, "729d"),
        (730 * 86400, "2y"),
        (800 * 86400, "2y70d"),
        (9 * 365 * 86400, "9y"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert printed.duration(seconds) == text


def test_dynamic_addresses_and_ports_come_from_the_upper_part() -> None:
    spec = taken(service(type="NodePort"), InUse())["spec"]
    assert ip_address(spec["clusterIP"]) == ip_address("10.96.1.1")
    assert spec["ports"][0]["nodePort"] == 30086
    assert spec["clusterIPs"] == [spec["clusterIP"]]
    assert (spec["ipFamilies"], spec["ipFamilyPolicy"]) == (["IPv4"], "SingleStack")


def test_the_lower_part_is_used_when_the_upper_is_full() -> None:
    upper = range(30086, 32768)
    outcome = taken(service(type="NodePort"), InUse(ports=set(upper)))
    assert outcome["spec"]["ports"][0]["nodePort"] == 30000


def test_a_full_range_is_an_error_of_the_server() -> None:
    everything = {f"10.96.0.{number}" for number in range(8)}
    with pytest.raises(AllocationError, match='for Service "web": range is full'):
        allocated(service(), None, InUse(everything), SMALL, first)
    with pytest.raises(AllocationError, match="failed to allocate a nodePort: range is full"):
        allocated(service(type="NodePort"), None, InUse(ports=set(range(30000, 30004))), SMALL, first)


@given(st.integers(0, 2**31), st.sets(st.integers(1, 6)), st.sets(st.integers(30000, 30003)))
def test_what_is_given_is_free_and_in_range(seed: int, addresses: set[int], ports: set[int]) -> None:
    used = InUse({f"10.96.0.{number}" for number in addresses}, ports)
    try:
        outcome = allocated(service(type="NodePort"), None, used, SMALL, lambda n: seed % n)
    except AllocationError:
        assert len(addresses) == 6 or len(ports) == 4
        return
    assert isinstance(outcome, dict)
    spec = outcome["spec"]
    assert spec["clusterIP"] not in used.addresses
    assert 1 <= int(spec["clusterIP"].rpartition(".")[2]) <= 6
    assert spec["ports"][0]["nodePort"] in set(range(30000, 30004)) - ports


@pytest.mark.parametrize("dice", [first, last], ids=["first", "last"])
def test_the_same_dice_give_the_same(dice: Any) -> None:
    wanted = service(type="LoadBalancer", externalTrafficPolicy="Local")
    one, other = (allocated(wanted, None, InUse(), RANGES, dice) for _ in range(2))
    assert one == other


def test_fields_stand_where_go_writes_them_and_maps_are_sorted() -> None:
    given = {"status": {}, "spec": {"type": "x", "selector": {"b": "1", "a": "2"}, "ports": [{"port": 1, "name": "n"}]}}
    shown = of("", "services").ordered({**given, "more": 1, "kind": "Service"})
    assert list(shown) == ["kind", "spec", "status", "more"]
    assert [list(one) for one in (shown["spec"], shown["spec"]["selector"], shown["spec"]["ports"][0])] == [
        ["ports", "selector", "type"],
        ["a", "b"],
        ["name", "port"],
    ]


def held(holdings: Holdings, service: Body | None = None) -> tuple[set[str], set[int]]:
    """What the others have, of all that there is."""
    used = holdings.of_others(service)
    addresses = {str(address) for address in ip_network("10.96.0.0/22") if str(address) in used.addresses}
    return addresses, {port for port in range(1, 65536) if port in used.ports}


def test_what_services_have_is_in_use() -> None:
    local = taken(service(type="LoadBalancer", externalTrafficPolicy="Local"), InUse())
    name = service(type="ExternalName", externalName="a.b")
    headless = taken(service(clusterIP="None"), InUse())
    holdings = Holdings([local, name, headless])
    spec = local["spec"]
    port, health = spec["ports"][0]["nodePort"], spec["healthCheckNodePort"]
    assert held(holdings) == ({spec["clusterIP"]}, {port, health})
    assert held(holdings, local) == (set(), set())
    without_port = {"spec": {**spec, "type": "ClusterIP", "ports": [{"port": 80}]}}
    holdings.changed(local, without_port)
    assert held(holdings) == ({spec["clusterIP"]}, set())
    holdings.changed(None, local)  # two that have the same: a state that was written by hand
    assert held(holdings, local) == ({spec["clusterIP"]}, set())
    holdings.changed(local, None)
    holdings.changed(without_port, None)
    assert held(holdings) == (set(), set())


CHANGES: list[tuple[str, Body, Body, list[str], list[str]]] = [
    ("stays", {"type": "NodePort"}, {"type": "NodePort"}, ["clusterIP", "ports"], []),
    ("to ClusterIP", {"type": "NodePort"}, {"type": "ClusterIP"}, ["clusterIP"], ["externalTrafficPolicy"]),
    ("to ExternalName", {}, {"type": "ExternalName", "externalName": "a.b"}, [], ["clusterIP", "ipFamilies"]),
    ("to LoadBalancer", {"type": "NodePort"}, {"type": "LoadBalancer"}, ["clusterIP", "ports"], []),
]


@pytest.mark.parametrize(("before", "after", "kept", "gone"), [row[1:] for row in CHANGES], ids=[r[0] for r in CHANGES])
def test_a_change_of_type_keeps_and_drops(before: Body, after: Body, kept: list[str], gone: list[str]) -> None:
    strategy = of("", "services")
    old = {**taken(service(**before), InUse()), "status": {"loadBalancer": {}}}
    wanted = strategy.defaulted({**old, "spec": {**old["spec"], **after}})
    new = strategy.prepared_for_update(taken(wanted, Holdings([old]).of_others(None), old=old), old, "")
    assert {field: new["spec"].get(field) for field in kept} == {field: old["spec"][field] for field in kept}
    assert [field for field in gone if field in new["spec"]] == []
    assert strategy.update_errors(new, old, "") == []


def test_admission_of_a_pod() -> None:
    strategy = of("", "pods")
    body = {"metadata": {"name": "x", "namespace": "default"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    pod = strategy.defaulted(body)
    assert strategy.wants_account(pod) == "default"
    account = {"imagePullSecrets": [{"name": "pull"}], "automountServiceAccountToken": False}
    quiet = strategy.admitted(pod, None, account)["spec"]
    assert ("volumes" in quiet, quiet["imagePullSecrets"]) == (False, [{"name": "pull"}])
    admitted = strategy.admitted(pod, None)
    assert admitted["spec"]["volumes"][0]["name"] == admitted["spec"]["containers"][0]["volumeMounts"][0]["name"]
    assert strategy.admitted(admitted, admitted) == admitted
    with pytest.raises(RefusedError, match="no PriorityClass with name gold was found"):
        strategy.admitted({**pod, "spec": {**pod["spec"], "priorityClassName": "gold"}}, None)


EXAMPLES: dict[tuple[str, str], Body] = {
    ("", "pods"): {"spec": {"containers": [{"name": "c", "image": "i", "env": [{"name": "A"}], "ports": [{}]}]}},
    ("", "services"): {"spec": {"type": "LoadBalancer", "ports": [{"port": 1}]}},
    ("apps", "deployments"): {"spec": {"template": {"spec": {"containers": [{"volumeMounts": [{"name": "v"}]}]}}}},
    ("", "secrets"): {"stringData": {"a": "b"}},
    ("discovery.k8s.io", "endpointslices"): {"endpoints": [{"addresses": None}], "ports": [{"port": 1}]},
    ("", "nodes"): {"spec": {"podCIDR": "10.244.1.0/24"}, "status": {"capacity": {"cpu": "2"}}},
}


@pytest.mark.parametrize(("group", "resource"), STRATEGIES, ids=lambda part: part or "core")
def test_steps_change_nothing_in_place_and_defaults_are_final(group: str, resource: str) -> None:
    strategy = of(group, resource)
    body = {"metadata": {"name": "x", "namespace": "default"}, **EXAMPLES.get((group, resource), {})}
    before = json.dumps(body)
    once = strategy.defaulted(body)
    assert json.dumps(body) == before
    assert strategy.defaulted(once) == once
    kept = json.dumps(once)
    made = strategy.prepared_for_create(strategy.admitted(once, None))
    strategy.create_errors(made)
    strategy.warnings(made, None)
    again = strategy.prepared_for_update(strategy.admitted(strategy.defaulted(made), made), made, "")
    strategy.update_errors(again, made, "")
    assert not strategy.spec_changed(again, made)
    assert json.dumps(once) == kept
    assert len(strategy.cells(made, 0.0)) == len(strategy.columns())
