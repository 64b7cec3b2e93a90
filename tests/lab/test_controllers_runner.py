"""What the loop of the controllers stands on: the queue, the merged view, the indexes, durations, events."""

from __future__ import annotations

from typing import Any

import pytest

from svclab.controllers.durations import seconds_of
from svclab.controllers.hashing import ALPHABET, template_hash
from svclab.controllers.recorder import event_of
from svclab.controllers.reduce import Record, World
from svclab.controllers.roster import Settings, controllers
from svclab.controllers.view import View
from svclab.controllers.workqueue import WorkQueue
from svclab.watched import Seen

Body = dict[str, Any]


def body(version: int, uid: str = "u", **more: Any) -> Body:
    return {"metadata": {"name": "a", "namespace": "shop", "uid": uid, "resourceVersion": str(version)}, **more}


def seen(old: Body | None, new: Body | None) -> Seen:
    return Seen("pods", "shop/a", old, new)


def held(view: View) -> str | None:
    one = view.world.get("pods", "shop/a")
    return None if one is None else str(one["metadata"]["resourceVersion"])


def test_an_answer_is_believed_until_something_newer_is_seen() -> None:
    view = View(World())
    assert view.watched(seen(None, body(1))) is not None
    assert view.answered("pods", body(5), 0.0) is not None
    assert view.watched(seen(body(1), body(3))) is None
    assert held(view) == "5"
    assert view.watched(seen(body(3), body(5))) is None
    assert view.watched(seen(body(5), body(6))) is not None
    assert view.answered("pods", body(5), 0.0) is None
    assert held(view) == "6"


def test_what_was_removed_does_not_come_back_by_a_late_event() -> None:
    view = View(World())
    view.watched(seen(None, body(1)))
    assert view.removed("pods", "shop/a", "u") is not None
    assert view.watched(seen(body(1), body(2))) is None
    assert view.watched(seen(body(2), None)) is None
    assert held(view) is None
    assert view.watched(seen(None, body(3, "other"))) is not None


def test_the_end_of_the_old_one_does_not_end_the_new_one() -> None:
    view = View(World())
    view.watched(seen(None, body(1)))
    view.removed("pods", "shop/a", "u")
    view.answered("pods", body(4, "other"), 0.0)
    assert view.watched(seen(body(1), None)) is None
    assert held(view) == "4"
    assert view.removed("pods", "shop/a", "u") is None


def test_an_answer_that_is_slower_than_the_end_of_its_object_is_ignored() -> None:
    view = View(World())
    view.watched(seen(None, body(1)))
    view.watched(seen(body(1), None))
    assert view.answered("pods", body(2), 0.0) is None
    assert held(view) is None


def test_a_write_that_no_watch_shows_is_told_once() -> None:
    view = View(World())
    view.answered("pods", body(4), 10.0)
    assert view.unconfirmed(before=10.0) == []
    assert view.unconfirmed(before=11.0) == [("pods", "shop/a")]
    assert view.unconfirmed(before=11.0) == []
    view.answered("pods", body(5), 10.0)
    view.watched(seen(None, body(5)))
    assert view.unconfirmed(before=99.0) == []


def test_an_assumption_is_withdrawn_or_overtaken() -> None:
    view = View(World())
    view.watched(seen(None, body(1)))
    assumed = view.assumed("pods", body(1, spec={"nodeName": "n1"}))
    assert len(view.world.pods_on("n1")) == 1
    assert view.withdrawn(assumed) is not None
    assert view.world.pods_on("n1") == []
    assumed = view.assumed("pods", body(1, spec={"nodeName": "n1"}))
    view.watched(seen(body(1), body(2, spec={"nodeName": "n2"})))
    assert view.withdrawn(assumed) is None
    assert len(view.world.pods_on("n2")) == 1


def test_indexes_follow() -> None:
    world = World()
    owner = {"metadata": {"name": "rs", "namespace": "shop", "uid": "rs"}}
    pod = body(1, spec={"nodeName": "n1"})
    pod["metadata"]["ownerReferences"] = [{"uid": "rs"}]
    world.put("replicasets", "shop/rs", owner)
    world.put("pods", "shop/a", pod)
    assert world.owned_by("rs") == [("pods", pod)]
    assert world.by_namespace("pods", "shop") == [pod]
    assert world.by_uid("rs") == ("replicasets", owner)
    assert world.pods_on("n1") == [pod]
    world.put("pods", "shop/a", None)
    assert (world.owned_by("rs"), world.by_namespace("pods", "shop"), world.pods_on("n1")) == ([], [], [])
    assert world.by_uid("u") is None


def test_a_key_is_held_once_and_not_handed_out_twice() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    queue.add("b")
    queue.add("a")
    assert queue.take(0.0) == ["a", "b"]
    queue.add("a")
    assert queue.take(0.0) == []
    queue.done("a")
    assert queue.take(0.0) == ["a"]


def test_failures_come_back_later_and_later() -> None:
    queue: WorkQueue[str] = WorkQueue()
    now, pauses = 0.0, []
    queue.add("a")
    for _ in range(16):
        assert queue.take(now) == ["a"]
        queue.failed("a", now, slowest=30.0)
        pause = queue.next_due(now) or 0.0
        pauses.append(pause)
        now += pause
    assert pauses[:4] == pytest.approx([0.005, 0.01, 0.02, 0.04])
    assert pauses[-1] == pytest.approx(30.0)
    queue.take(now)
    queue.done("a")
    queue.add("a")
    queue.take(now)
    queue.failed("a", now)
    assert queue.next_due(now) == pytest.approx(0.005)


def test_the_last_appointment_counts() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_at("a", 5.0)
    queue.add_at("a", 9.0)
    assert queue.next_due(0.0) == pytest.approx(9.0)
    assert queue.take(6.0) == []
    assert queue.take(9.0) == ["a"]
    assert queue.next_due(9.0) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("40s", 40.0), ("1m30s", 90.0), ("500ms", 0.5), ("1.5h", 5400.0), ("0", 0.0)],
)
def test_durations(text: str, seconds: float) -> None:
    assert seconds_of(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "40", "s", "40 s", "4x", "-1s"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        seconds_of(text)


def test_letters_that_make_no_words() -> None:
    one, other = template_hash({"a": 1}, None), template_hash({"a": 1}, 1)
    assert one == template_hash({"a": 1}, None) != other
    assert set(one) <= set(ALPHABET)


def test_an_event_of_a_node_stands_in_the_default_namespace() -> None:
    about = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "uid": "u"}}
    event = event_of(Record(about, "Normal", "R", "m", "c"), "default", 255_000_000_000)
    assert event["metadata"] == {"name": f"n1.{255_000_000_000:x}", "namespace": "default"}
    assert event["involvedObject"] == {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u"}


def test_names_in_the_roster_are_unique() -> None:
    names = [one.name for one in controllers(Settings())]
    assert len(set(names)) == len(names)
