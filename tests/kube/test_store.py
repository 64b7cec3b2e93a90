"""The store: what a message changes, and that the order of arrival leaves no trace."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svckube.objects import EndpointSlice, KubeObject, Labels, Namespace, Node, ObjectMeta, Service
from svckube.store import Change, Listed, Store
from svckube.stream import Applied, Deleted

Message = Listed | Applied | Deleted


def service(name: str, version: int) -> Service:
    return Service(metadata=ObjectMeta(name=name, namespace="ns", resource_version=str(version)))


def piece(name: str, of: str, version: int) -> EndpointSlice:
    labels = Labels(service_name=of) if of else None
    return EndpointSlice(metadata=ObjectMeta(name=name, namespace="ns", resource_version=str(version), labels=labels))


A1, A2, B1 = service("a", 1), service("a", 2), service("b", 1)
S1, S2, S3 = piece("s", "a", 1), piece("s", "b", 2), piece("s", "", 3)


def fresh() -> Store:
    return Store((Service, EndpointSlice, Namespace))


@pytest.mark.parametrize(
    ("before", "message", "want"),
    [
        pytest.param([], Applied(A1), [Change(Service, "ns/a", None, A1)], id="new"),
        pytest.param([Applied(A1)], Applied(A2), [Change(Service, "ns/a", A1, A2)], id="changed"),
        pytest.param([Applied(A1)], Applied(service("a", 1)), [], id="same-version-again"),
        pytest.param([Applied(A1)], Deleted(A2), [Change(Service, "ns/a", A1, None)], id="deleted"),
        pytest.param([], Deleted(A1), [], id="deletion-of-an-unknown"),
        pytest.param([Applied(A1), Deleted(A1)], Applied(A1), [Change(Service, "ns/a", None, A1)], id="back-again"),
        pytest.param([], Listed(Service, ()), [], id="empty-list"),
        pytest.param(
            [],
            Listed(Service, (A1, B1)),
            [Change(Service, "ns/a", None, A1), Change(Service, "ns/b", None, B1)],
            id="first-list",
        ),
        pytest.param([Listed(Service, (A1, B1))], Listed(Service, (A1, B1)), [], id="relist-of-the-same"),
        pytest.param(
            [Listed(Service, (A1, B1))], Listed(Service, (A2, B1)), [Change(Service, "ns/a", A1, A2)], id="relist-diff"
        ),
        pytest.param(
            [Listed(Service, (B1, A1))],
            Listed(Service, ()),
            [Change(Service, "ns/a", A1, None), Change(Service, "ns/b", B1, None)],
            id="relist-drops-in-order-of-names",
        ),
        pytest.param(
            [Listed(Service, (A1, B1))],
            Listed(Service, (), frozenset({"ns/a"})),
            [Change(Service, "ns/b", B1, None)],
            id="an-undecodable-object-keeps-its-last-good-value",
        ),
        pytest.param([], Listed(Service, (), frozenset({"ns/a"})), [], id="an-undecodable-object-never-seen-before"),
        pytest.param([Applied(A1)], Listed(EndpointSlice, ()), [], id="a-list-of-one-kind-leaves-the-others"),
        pytest.param([Applied(S1)], Applied(S2), [Change(EndpointSlice, "ns/s", S1, S2)], id="a-slice-moves"),
    ],
)
def test_a_message_changes(before: list[Message], message: Message, want: list[Change]) -> None:
    store = fresh()
    for earlier in before:
        store.apply(earlier)
    assert store.apply(message) == want


@pytest.mark.parametrize(
    ("messages", "want"),
    [
        pytest.param([Applied(S1)], {"ns/a": ["s"], "ns/b": []}, id="indexed"),
        pytest.param([Applied(S1), Applied(S2)], {"ns/a": [], "ns/b": ["s"]}, id="moved"),
        pytest.param([Applied(S1), Applied(S3)], {"ns/a": [], "": []}, id="label-removed"),
        pytest.param([Applied(S3), Applied(S2)], {"ns/b": ["s"]}, id="label-added"),
        pytest.param([Applied(S1), Deleted(S2)], {"ns/a": [], "ns/b": []}, id="deleted-by-an-event-with-another-label"),
        pytest.param(
            [Applied(piece("z", "a", 1)), Applied(piece("m", "a", 1)), Applied(S1)],
            {"ns/a": ["m", "s", "z"]},
            id="sorted-by-name",
        ),
        pytest.param([Applied(S1), Listed(EndpointSlice, ())], {"ns/a": []}, id="relisted-away"),
    ],
)
def test_slices_of_a_service(messages: list[Message], want: dict[str, list[str]]) -> None:
    store = fresh()
    for message in messages:
        store.apply(message)
    assert {key: [one.metadata.name for one in store.slices(key)] for key in want} == want


@pytest.mark.parametrize(
    ("change", "want"),
    [
        pytest.param(Change(Service, "ns/a", A1, A2), ("ns/a",), id="service"),
        pytest.param(Change(EndpointSlice, "ns/s", None, S1), ("ns/a",), id="slice"),
        pytest.param(Change(EndpointSlice, "ns/s", S2, S1), ("ns/a", "ns/b"), id="slice-moved-both-see-it"),
        pytest.param(Change(EndpointSlice, "ns/s", S3, None), (), id="slice-of-nobody"),
        pytest.param(Change(Node, "n", None, Node()), (), id="node"),
    ],
)
def test_a_change_names_the_services(change: Change, want: tuple[str, ...]) -> None:
    assert change.service_keys == want


def test_synced_means_listed_not_merely_seen() -> None:
    store = fresh()
    store.apply(Applied(A1))
    assert not store.synced(Service)
    store.apply(Listed(Service, ()))
    assert store.synced(Service)
    assert not store.synced(Service, EndpointSlice)
    store.apply(Listed(EndpointSlice, ()))
    assert store.synced(Service, EndpointSlice)


def test_get_and_objects_follow_the_store() -> None:
    store = fresh()
    view = store.objects(Service)
    assert store.get(Service, "ns/a") is None
    store.apply(Applied(A1))
    assert store.get(Service, "ns/a") == A1
    assert dict(view) == {"ns/a": A1}


@pytest.mark.parametrize(
    "message", [Listed(Node, ()), Applied(Node()), Deleted(Node())], ids=["list", "apply", "delete"]
)
def test_a_kind_it_was_not_made_for_is_refused(message: Message) -> None:
    with pytest.raises(ValueError, match="Node"):
        fresh().apply(message)


# --- any order, batching and relist ends in the same state ------------------------------------------------------------

NAMES, OWNERS = ("p", "q", "r"), ("", "a", "b")
# A world is what exists: slice name -> owner. Its history is a list of worlds that differ by one object each.
STEPS = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from((*OWNERS, None))), max_size=20)


def index_of(objects: dict[str, EndpointSlice]) -> dict[str, tuple[EndpointSlice, ...]]:
    keys = {one.service_key for one in objects.values()} - {""}
    return {key: tuple(one for _, one in sorted(objects.items()) if one.service_key == key) for key in keys}


@given(STEPS, st.data())
def test_every_way_to_learn_a_history_ends_in_the_same_state(
    steps: list[tuple[str, str | None]], data: st.DataObject
) -> None:
    store, world = fresh(), dict[str, EndpointSlice]()
    replica: dict[str, KubeObject] = {}
    silent = False  # between a lost connection and the next list no event arrives
    for version, (name, owner) in enumerate(steps, 1):
        message: Message | None
        if owner is None:
            gone = world.pop(f"ns/{name}", None)
            message = Deleted(gone or piece(name, "", version))
        else:
            world[f"ns/{name}"] = piece(name, owner, version)
            message = Applied(world[f"ns/{name}"])
        silent = data.draw(st.booleans()) if silent else data.draw(st.integers(0, 4)) == 0
        if not silent and data.draw(st.booleans()):
            message = Listed(EndpointSlice, tuple(data.draw(st.permutations(list(world.values())))))
        elif silent:
            continue
        for change in store.apply(message):
            assert replica.get(change.key) == change.old
            assert change.old != change.new
            if change.new is None:
                del replica[change.key]
            else:
                replica[change.key] = change.new
        objects = dict(store.objects(EndpointSlice))
        assert {key: store.slices(key) for key in ("ns/a", "ns/b") if store.slices(key)} == index_of(objects)
    for change in store.apply(Listed(EndpointSlice, tuple(world.values()))):
        replica.pop(change.key, None) if change.new is None else replica.update({change.key: change.new})
    assert dict(store.objects(EndpointSlice)) == world == replica
    assert {key: store.slices(key) for key in ("ns/a", "ns/b") if store.slices(key)} == index_of(world)
