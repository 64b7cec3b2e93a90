"""nfnetlink messages: what is written is read back. Pure."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcnet.nfnetlink import (
    ACK,
    ERROR,
    NESTED,
    Message,
    attribute,
    attributes,
    batch,
    long,
    message,
    messages,
    number,
    text,
)

PAYLOADS = st.dictionaries(st.integers(1, 0x3FFF), st.binary(max_size=40), max_size=6)


@given(PAYLOADS, st.integers(0, 0xFFFFFFFF))
def test_a_message_is_read_back(payloads: dict[int, bytes], sequence: int) -> None:
    sent = message(10 << 8 | 6, ACK, sequence, 2, *(attribute(kind, value) for kind, value in payloads.items()))
    assert len(sent) % 4 == 0
    assert list(messages(sent)) == [Message(10 << 8 | 6, sequence, payloads)]


def test_values_are_big_endian_and_texts_end_with_nul() -> None:
    data = text(1, "nat") + number(2, -1) + long(3, 7) + attribute(4 | NESTED, number(1, 5))
    found = attributes(data)
    assert found == {1: b"nat\0", 2: b"\xff\xff\xff\xff", 3: b"\0\0\0\0\0\0\0\7", 4: number(1, 5)}
    assert attributes(found[4]) == {1: b"\0\0\0\5"}


def test_a_batch_begins_and_ends() -> None:
    found = list(messages(batch([message(10 << 8, 0, 1, 2)], 9)))
    assert [(each.kind, each.sequence) for each in found] == [(0x10, 9), (10 << 8, 1), (0x11, 9)]


@pytest.mark.parametrize(("code", "error"), [(-17, 17), (0, 0)])
def test_an_answer_carries_its_errno(code: int, error: int) -> None:
    answer = struct.pack("=IHHIIi", 36, ERROR, 0, 4, 0, code) + bytes(16)
    assert list(messages(answer)) == [Message(ERROR, 4, {}, error)]


@pytest.mark.parametrize("data", [b"\x02\0\1\0", b"\0\0\0\0"], ids=["shorter than its head", "of no size"])
def test_an_impossible_size_is_refused(data: bytes) -> None:
    with pytest.raises(struct.error):
        attributes(data)
