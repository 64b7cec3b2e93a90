"""The watch protocol without I/O: bytes in, values out.

In: the body of a watch, chopped anywhere (`Stream.feed`), or the body of a list (`page`). Out: `Applied`, `Deleted`,
`Bookmark`, `Gone`, `Failed` and `Skipped` in wire order, or one `Page`. A watch body is a JSON object a line:
`{"type": "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR", "object": …}` (Kubernetes API concepts, "Efficient
detection of changes"). Source of the types: apimachinery `watch.Event`, `metav1.ListMeta`, `metav1.Status`.

One bad object costs one object. A line or list is decoded in one pass as what it should be; only if that fails is it
taken apart, so that the good objects survive and the bad one is named. What cannot be taken apart is refused:
a line that is no event, or one longer than `LINE_LIMIT`, gives `Failed` with code 0, and the caller should hang up;
a list that is no list raises `MalformedError`. A last line without its newline is an event cut short, never an event.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec
from msgspec import field

from svckube.objects import Document, EndpointSlice, KubeObject, Namespace, Node, ObjectMeta, Pod, Service

K = TypeVar("K", bound=KubeObject)
T = TypeVar("T")

LINE_LIMIT = (
    64 << 20
)  # bytes; etcd holds 1.5 MiB an object by default, and JSON is a few times larger than its protobuf
GONE = 410  # HTTP status of a resourceVersion that the server no longer (or does not yet) remember


class MalformedError(ValueError):
    """The peer's fault: an answer that is not the list it was asked for."""


class Applied(msgspec.Struct, frozen=True):
    """The object exists and looks like this (ADDED, MODIFIED)."""

    object: KubeObject


class Deleted(msgspec.Struct, frozen=True):
    """The object is gone. `object` is its last state, or metadata alone where the rest did not decode."""

    object: KubeObject


class Bookmark(msgspec.Struct, frozen=True):
    """Everything up to `resource_version` has been seen. `initial_events_end` closes a streamed list (KEP-3157)."""

    resource_version: str
    initial_events_end: bool = False


class Gone(msgspec.Struct, frozen=True):
    """The resourceVersion is too old (410): the state must be listed anew."""

    message: str


class Failed(msgspec.Struct, frozen=True):
    """The server ends the watch with a Status (`code` is its HTTP code), or sends what is no event (`code` 0)."""

    code: int
    reason: str
    message: str


class Skipped(msgspec.Struct, frozen=True):
    """An object that does not decode. `name` is its key as `KubeObject.key`, "" if not even its metadata decodes."""

    name: str
    reason: str
    resource_version: str = ""


Message: TypeAlias = Applied | Deleted | Bookmark | Gone | Failed | Skipped


class Page(msgspec.Struct, Generic[K], frozen=True):
    """One answer to a list request. `continue_token` is "" on the last page."""

    objects: tuple[K, ...]
    skipped: tuple[Skipped, ...]
    resource_version: str
    continue_token: str


class _Event(msgspec.Struct, Generic[K], gc=False):
    type: str
    object: K


class _RawEvent(msgspec.Struct, gc=False):
    type: str
    object: msgspec.Raw


class _BookmarkNotes(msgspec.Struct, gc=False):
    initial_events_end: str = field(default="", name="k8s.io/initial-events-end")


class _BookmarkMeta(msgspec.Struct, rename="camel", gc=False):
    resource_version: str = ""
    annotations: _BookmarkNotes | None = None


class _BookmarkObject(msgspec.Struct, gc=False):
    metadata: _BookmarkMeta


class _Status(msgspec.Struct, gc=False):
    code: int = 0
    reason: str = ""
    message: str = ""


class _ListMeta(msgspec.Struct, rename="camel", gc=False):
    resource_version: str = ""
    continue_: str = field(default="", name="continue")


class _RawList(msgspec.Struct, gc=False):
    metadata: _ListMeta
    items: tuple[msgspec.Raw, ...] | None


class _NameMeta(msgspec.Struct, rename="camel", gc=False):
    name: str = ""
    namespace: str = ""
    resource_version: str = ""


class _Named(msgspec.Struct, gc=False):
    metadata: _NameMeta


_raw_event = msgspec.json.Decoder(_RawEvent)
_raw_list = msgspec.json.Decoder(_RawList)
_bookmark = msgspec.json.Decoder(_BookmarkObject)
_status = msgspec.json.Decoder(_Status)
_named = msgspec.json.Decoder(_Named)


class _Decoders(Generic[K]):
    """What reads one kind: an event with its object, an object alone."""

    def __init__(self, kind: type[K]) -> None:
        self.event: msgspec.json.Decoder[_Event[K]] = msgspec.json.Decoder(_Event[kind])  # type: ignore[valid-type]  # a type made at run time
        self.object: msgspec.json.Decoder[K] = msgspec.json.Decoder(kind)


class _Wrapping(Generic[T]):
    """A decoder and what makes the wanted value of what it reads."""

    def __init__(self, decoder: msgspec.json.Decoder[Any], wrap: Callable[[Any], T]) -> None:
        self._decoder = decoder
        self._wrap = wrap

    def decode(self, data: bytes | msgspec.Raw) -> T:
        return self._wrap(self._decoder.decode(data))


class _DocumentDecoders:
    """`_Decoders` for objects that are kept whole: msgspec reads plain JSON values, `Document.of` wraps them."""

    def __init__(self) -> None:
        self.event = _Wrapping(
            msgspec.json.Decoder(_Event[dict[str, Any]]),  # type: ignore[type-var]  # not a KubeObject yet
            lambda event: _Event(event.type, Document.of(event.object)),
        )
        self.object = _Wrapping(msgspec.json.Decoder(dict[str, Any]), Document.of)


_decoders: dict[type[KubeObject], Any] = {Document: _DocumentDecoders()}  # of _Decoders


def prepare(*kinds: type[KubeObject]) -> None:
    """Makes these kinds readable. To be called while modules are imported, before there are threads.

    msgspec looks into a struct's types at their first use, and two threads that do so for one struct at the same time
    crash the process (0.22.0; tests/kube/test_stream_threads.py).
    """
    _decoders.update({kind: _Decoders(kind) for kind in kinds})


prepare(Service, EndpointSlice, Node, Namespace, Pod)


class Stream(Generic[K]):
    """Reads one watch. Holds at most one unfinished line. A new connection needs a new Stream."""

    def __init__(self, kind: type[K]) -> None:
        self._kind = kind
        self._event: msgspec.json.Decoder[_Event[K]] = _decoders[kind].event
        self._tail: list[bytes] = []
        self._tail_size = 0

    def feed(self, data: bytes) -> list[Message]:
        """Takes the next bytes as they came; returns what they completed, in wire order."""
        lines = data.split(b"\n")
        if len(lines) == 1:
            return self._keep(data)
        lines[0] = b"".join((*self._tail, lines[0]))
        tail = lines.pop()
        self._tail, self._tail_size = [], 0
        return [self._read(line) for line in lines if line and not line.isspace()] + self._keep(tail)

    def _keep(self, part: bytes) -> list[Message]:
        if not part:
            return []
        self._tail_size += len(part)
        if self._tail_size > LINE_LIMIT:
            self._tail, self._tail_size = [], 0
            return [Failed(0, "TooLarge", f"a watch event is longer than {LINE_LIMIT} bytes")]
        self._tail.append(part)
        return []

    def _read(self, line: bytes) -> Message:
        try:
            event = self._event.decode(line)
        except msgspec.DecodeError as error:
            return self._take_apart(line, str(error).replace("`$.object", "`$"))  # the path as in a list: one reason
        if event.type in ("ADDED", "MODIFIED"):
            return Applied(event.object)
        if event.type == "DELETED":
            return Deleted(event.object)
        return self._take_apart(line, f"unknown event type {event.type!r}")

    def _take_apart(self, line: bytes, cause: str) -> Message:
        """The slow way: events that carry no object of our kind, and objects that do not decode."""
        try:
            event = _raw_event.decode(line)
            if event.type == "ERROR":
                status = _status.decode(event.object)
                return (
                    Gone(status.message) if status.code == GONE else Failed(status.code, status.reason, status.message)
                )
            if event.type == "BOOKMARK":
                meta = _bookmark.decode(event.object).metadata
                return Bookmark(
                    meta.resource_version, bool(meta.annotations and meta.annotations.initial_events_end == "true")
                )
        except msgspec.DecodeError as error:
            return Failed(0, "Malformed", f"a watch event does not decode: {error}")
        skipped = _skip(event.object, cause)
        if event.type == "DELETED" and skipped.name:
            return Deleted(self._kind(metadata=_metadata(skipped)))
        return skipped


def page(data: bytes, kind: type[K], lighter: Callable[[K], K] = lambda thing: thing) -> Page[K]:
    """Reads the body of a list. Raises MalformedError if it is none (not JSON, cut short, a Status).

    One object after the other, each put to `lighter` before the next is read: what is not wanted of ten thousand
    objects is never there all at once, and leaves no holes between what stays.
    """
    try:
        raw = _raw_list.decode(data)
    except msgspec.DecodeError as error:
        raise MalformedError(f"the answer is no list of {kind.__name__} objects: {error}") from error
    decode = _decoders[kind].object.decode
    objects: list[K] = []
    skipped: list[Skipped] = []
    for item in raw.items or ():
        try:
            objects.append(lighter(decode(item)))
        except msgspec.DecodeError as error:
            skipped.append(_skip(item, str(error)))
    return Page(tuple(objects), tuple(skipped), raw.metadata.resource_version, raw.metadata.continue_)


def _skip(raw: msgspec.Raw, cause: str) -> Skipped:
    try:
        meta = _named.decode(raw).metadata
    except msgspec.DecodeError:
        return Skipped("", cause)
    key = f"{meta.namespace}/{meta.name}" if meta.namespace else meta.name
    return Skipped(key, cause, meta.resource_version)


def _metadata(skipped: Skipped) -> ObjectMeta:
    namespace, _, name = skipped.name.rpartition("/")
    return ObjectMeta(name=name, namespace=namespace, resource_version=skipped.resource_version)
