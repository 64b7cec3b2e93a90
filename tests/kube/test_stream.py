"""The watch protocol, as tables: lines in, messages out, however the bytes are chopped."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svckube import stream as stream_module
from svckube.objects import Document, EndpointSlice, KubeObject, Namespace, Node, ObjectMeta, Pod, Service
from svckube.stream import (
    Applied,
    Bookmark,
    Deleted,
    Failed,
    Gone,
    MalformedError,
    Message,
    Page,
    Skipped,
    Stream,
    page,
)

WEB = {"metadata": {"name": "web", "namespace": "shop", "resourceVersion": "7"}, "spec": {"ports": [{"port": 80}]}}
BAD = {"metadata": {"name": "bad", "namespace": "shop", "resourceVersion": "8"}, "spec": {"ports": "eighty"}}
NAMELESS = {"metadata": 5}
BOOKMARK = {"kind": "Service", "metadata": {"resourceVersion": "99"}, "spec": {}}
FIRST_STATE_END = {"metadata": {"resourceVersion": "9", "annotations": {"k8s.io/initial-events-end": "true"}}}
EXPIRED = {"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old"}
INTERNAL = {"kind": "Status", "status": "Failure", "code": 500, "reason": "InternalError", "message": "etcd"}


def line(type_: str, obj: object) -> bytes:
    return json.dumps({"type": type_, "object": obj}).encode() + b"\n"


def brief(message: Message) -> tuple[Any, ...]:
    """A message as a row of the tables below; reasons are msgspec's words, of which the path is checked elsewhere."""
    match message:
        case Applied(obj) | Deleted(obj):
            return type(message).__name__, obj.key, obj.metadata.resource_version
        case Skipped(name, _, version):
            return "Skipped", name, version
        case Bookmark(version, end):
            return "Bookmark", version, end
        case Gone(text):
            return "Gone", text
        case Failed(code, reason, _):
            return "Failed", code, reason


ROWS = [
    pytest.param(line("ADDED", WEB), [("Applied", "shop/web", "7")], id="added"),
    pytest.param(line("MODIFIED", WEB), [("Applied", "shop/web", "7")], id="modified"),
    pytest.param(line("DELETED", WEB), [("Deleted", "shop/web", "7")], id="deleted"),
    pytest.param(line("ADDED", BAD), [("Skipped", "shop/bad", "8")], id="an-object-that-does-not-decode-is-named"),
    pytest.param(line("DELETED", BAD), [("Deleted", "shop/bad", "8")], id="a-deletion-needs-metadata-only"),
    pytest.param(line("ADDED", NAMELESS), [("Skipped", "", "")], id="metadata-does-not-decode"),
    pytest.param(line("DELETED", NAMELESS), [("Skipped", "", "")], id="deletion-of-nobody-knows-what"),
    pytest.param(line("BOOKMARK", BOOKMARK), [("Bookmark", "99", False)], id="bookmark"),
    pytest.param(line("BOOKMARK", FIRST_STATE_END), [("Bookmark", "9", True)], id="bookmark-ends-initial-events"),
    pytest.param(line("ERROR", EXPIRED), [("Gone", "too old")], id="410"),
    pytest.param(line("ERROR", INTERNAL), [("Failed", 500, "InternalError")], id="500"),
    pytest.param(line("ERROR", {"code": "x"}), [("Failed", 0, "Malformed")], id="a-status-that-does-not-decode"),
    pytest.param(line("RENAMED", WEB), [("Skipped", "shop/web", "7")], id="an-event-type-from-the-future"),
    pytest.param(b"<html>\n", [("Failed", 0, "Malformed")], id="not-json"),
    pytest.param(b'{"type":"ADDED"}\n', [("Failed", 0, "Malformed")], id="no-object"),
    pytest.param(line("ADDED", WEB)[:-2] + b"\n", [("Failed", 0, "Malformed")], id="json-cut-short"),
    pytest.param(line("ADDED", WEB)[:-1], [], id="a-last-line-without-newline-is-no-event"),
    pytest.param(b"\n \r\n", [], id="blank-lines"),
    pytest.param(
        line("ADDED", WEB) + line("ADDED", BAD) + line("DELETED", WEB) + line("BOOKMARK", BOOKMARK),
        [
            ("Applied", "shop/web", "7"),
            ("Skipped", "shop/bad", "8"),
            ("Deleted", "shop/web", "7"),
            ("Bookmark", "99", False),
        ],
        id="one-bad-object-does-not-kill-the-stream",
    ),
]


@pytest.mark.parametrize("size", [1, 7, 1 << 20], ids=["byte-by-byte", "sevens", "whole"])
@pytest.mark.parametrize(("body", "want"), ROWS)
def test_a_stream_says(body: bytes, want: list[tuple[Any, ...]], size: int) -> None:
    stream = Stream(Service)
    got = [message for at in range(0, len(body), size) for message in stream.feed(body[at : at + size])]
    assert [brief(message) for message in got] == want


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, id=kind.__name__) for kind in (Service, EndpointSlice, Node, Namespace, Pod, Document)]
)
def test_control_events_are_read_for_every_kind(kind: type[KubeObject]) -> None:
    # A Status has a `status` string where Service has a struct, and nothing that contradicts an EndpointSlice.
    got = Stream(kind).feed(line("BOOKMARK", BOOKMARK) + line("ERROR", INTERNAL) + line("ERROR", EXPIRED))
    assert got == [Bookmark("99"), Failed(500, "InternalError", "etcd"), Gone("too old")]


def test_a_document_keeps_everything() -> None:
    kept = Document(ObjectMeta(name="bad", namespace="shop", resource_version="8"), BAD)
    assert Stream(Document).feed(line("ADDED", BAD) + line("DELETED", BAD)) == [Applied(kept), Deleted(kept)]
    assert page(list_of(BAD, NAMELESS), Document).objects == (kept,)
    assert brief(Stream(Document).feed(line("MODIFIED", NAMELESS))[0]) == ("Skipped", "", "")


LINES = [line("ADDED", WEB), line("MODIFIED", BAD), line("DELETED", WEB), line("BOOKMARK", BOOKMARK), b"\n", b"x\n"]


@given(st.lists(st.sampled_from(LINES), max_size=8), st.data())
def test_chopping_does_not_matter(lines: list[bytes], data: st.DataObject) -> None:
    body = b"".join(lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=10)))
    chopped, whole = Stream(Service), Stream(Service)
    parts = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert [message for part in parts for message in chopped.feed(part)] == whole.feed(body)


def test_a_line_without_end_is_refused_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "LINE_LIMIT", 1000)
    stream = Stream(Service)
    assert stream.feed(b"x" * 999) == []
    assert [brief(message) for message in stream.feed(b"x" * 999)] == [("Failed", 0, "TooLarge")]
    assert [brief(message) for message in stream.feed(line("ADDED", WEB))] == [("Applied", "shop/web", "7")]


def test_a_skipped_object_says_where_it_went_wrong() -> None:
    (skipped,) = Stream(Service).feed(line("ADDED", BAD))
    assert isinstance(skipped, Skipped)
    assert "`$.spec.ports`" in skipped.reason
    assert page(list_of(BAD), Service).skipped[0].reason == skipped.reason


def list_of(*items: object, **metadata: str) -> bytes:
    return json.dumps(
        {"kind": "ServiceList", "metadata": {"resourceVersion": "5", **metadata}, "items": items}
    ).encode()


def service(name: str, version: str) -> Service:
    return Service(metadata=ObjectMeta(name=name, namespace="shop", resource_version=version))


BARE = {"metadata": {"name": "bare", "namespace": "shop", "resourceVersion": "3"}}


def names(got: Page[Service]) -> tuple[list[str], list[str], str, str]:
    objects, skipped = [obj.key for obj in got.objects], [one.name for one in got.skipped]
    return objects, skipped, got.resource_version, got.continue_token


@pytest.mark.parametrize(
    ("body", "want"),
    [
        pytest.param(list_of(WEB, BARE), (["shop/web", "shop/bare"], [], "5", ""), id="whole"),
        pytest.param(list_of(WEB, **{"continue": "abc"}), (["shop/web"], [], "5", "abc"), id="more-to-come"),
        pytest.param(list_of(), ([], [], "5", ""), id="empty"),
        pytest.param(b'{"metadata":{"resourceVersion":"5"},"items":null}', ([], [], "5", ""), id="go-nil-slice"),
        pytest.param(list_of(WEB, BAD, BARE), (["shop/web", "shop/bare"], ["shop/bad"], "5", ""), id="one-bad-object"),
        pytest.param(list_of(NAMELESS, WEB), (["shop/web"], [""], "5", ""), id="one-nameless-object"),
    ],
)
def test_a_page_says(body: bytes, want: tuple[list[str], list[str], str, str]) -> None:
    assert names(page(body, Service)) == want


def test_a_page_holds_decoded_objects() -> None:
    assert page(list_of(BARE), Service).objects == (service("bare", "3"),)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty-body"),
        pytest.param(list_of(WEB)[:-5], id="cut-short"),
        pytest.param(b"<html>sign in</html>", id="a-login-page"),
        pytest.param(json.dumps(INTERNAL).encode(), id="a-status"),
        pytest.param(b'{"metadata":{},"items":7}', id="items-are-no-list"),
    ],
)
def test_what_is_no_list_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedError, match="Service"):
        page(body, Service)
