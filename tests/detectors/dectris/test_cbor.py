"""The reader of CBOR: the same values as cbor2, no copies, and nothing but ValueError."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cbor2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from limadask_detectors.dectris.cbor import DEPTH, Tag, loads

TAGS = (40, 1040, *range(64, 88), 56500, 1 << 40)
"""Tags that cbor2 leaves alone as well."""
KEYS = st.text(max_size=30) | st.integers(-(1 << 64), (1 << 64) - 1)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 64), (1 << 64) - 1)
    | st.floats(allow_nan=False) | st.text(max_size=300) | st.binary(max_size=300),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(KEYS, inner, max_size=30)
    | st.builds(cbor2.CBORTag, st.sampled_from(TAGS), inner),
    max_leaves=30,
)  # fmt: skip
IMAGE: dict[str, Any] = {
    "type": "image", "series_id": 7, "image_id": 300, "real_time": [215873, 50_000_000],
    "data": {"threshold_1": cbor2.CBORTag(40, [[2, 3], cbor2.CBORTag(69, bytes(12))])},
}  # fmt: skip


def plain(value: Any) -> Any:
    """What either reader has read; cbor2 has tuples inside of tags."""
    if isinstance(value, memoryview):
        return bytes(value)
    if isinstance(value, Tag):
        return cbor2.CBORTag(value.number, plain(value.value))
    if isinstance(value, cbor2.CBORTag):
        return cbor2.CBORTag(value.tag, plain(value.value))
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    return value


def typed(value: Any) -> Any:
    """A value that differs from others that Python takes for equal, as 1, 1.0 and True."""
    return repr(plain(value))


@given(VALUES)
def test_values_are_those_that_were_written(value: Any) -> None:
    assert typed(loads(cbor2.dumps(value))) == typed(value)


@given(VALUES)
def test_values_are_those_that_cbor2_reads(value: Any) -> None:
    message = cbor2.dumps(value, canonical=True)  # floats as short as can be
    assert typed(loads(message)) == typed(cbor2.loads(message))


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("5f42010243030405ff", b"\1\2\3\4\5"),
        ("7f657374726561646d696e67ff", "streaming"),
        ("9f018202039f0405ffff", [1, [2, 3], [4, 5]]),
        ("bf61610161629f0203ffff", {"a": 1, "b": [2, 3]}),
        ("d9d9f783010203", [1, 2, 3]),
        ("f7", None),
        ("f97bff", 65504.0),
        ("5f ff", b""),
        ("c074323031332d30332d32315432303a30343a30305a", cbor2.CBORTag(0, "2013-03-21T20:04:00Z")),
    ],
)
def test_what_has_no_size_and_other_kinds(written: str, value: Any) -> None:
    assert plain(loads(bytes.fromhex(written))) == value


@pytest.mark.parametrize("size", [0, 23, 24, 255, 256, 65535, 65536])
def test_strings_of_bytes_are_views_of_the_message(size: int) -> None:
    message = cbor2.dumps({"data": [1, bytes(size)]})
    view = loads(message)["data"][1]
    assert view.obj is message
    assert view == bytes(size)


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("", "ends within a value"),
        ("18", "ends within a value"),
        ("0101", "1 bytes follow"),
        ("1c", "size of kind 28"),
        ("1f", "may have no size"),
        ("df00ff", "may have no size"),
        ("ff", "no simple value 31"),
        ("f818", "no simple value 24"),
        ("e0", "no simple value 0"),
        ("5bffffffffffffffff00", "ends within a value"),
        ("9bffffffffffffffff00", "ends within a value"),
        ("bbffffffffffffffff0000", "ends within a value"),
        ("5f6161ff", "of another kind"),
        ("5f5f4161ffff", "of another kind"),
        ("7f4161ff", "of another kind"),
        ("9f01", "ends within a value"),
        ("bf01ff", "no simple value 31"),
        ("a1f501", "neither text nor"),
        ("a1416101", "neither text nor"),
        ("bff93c0001ff", "neither text nor"),
        ("a1800000", "nested"),
        ("61ff", "codec can't decode"),
    ],
)
def test_what_is_no_cbor_is_refused(written: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        loads(bytes.fromhex(written))


@pytest.mark.parametrize("head", ["81", "9f", "a100", "bf00", "c1"])
def test_the_nesting_is_bounded(head: str) -> None:
    begin, end = bytes.fromhex(head), b"\xff" if head[1] == "f" else b""
    assert loads(begin * DEPTH + b"\0" + end * DEPTH) is not None
    with pytest.raises(ValueError, match="nested"):
        loads(begin * (DEPTH + 1) + b"\0" + end * (DEPTH + 1))
    with pytest.raises(ValueError, match="nested"):
        loads(begin * 100_000)


def test_no_beginning_of_a_message_is_one() -> None:
    message = cbor2.dumps(IMAGE)
    for size in range(len(message)):
        with pytest.raises(ValueError, match="ends within"):
            loads(message[:size])


@given(st.data())
def test_a_message_with_wrong_bits_is_read_or_refused(data: st.DataObject) -> None:
    message = bytearray(cbor2.dumps(IMAGE))
    for _ in range(data.draw(st.integers(1, 3))):
        message[data.draw(st.integers(0, len(message) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    _read_or_refuse(bytes(message))


@given(st.binary(max_size=64))
@example(b"\x9f" * 10)
@example(b"\xbf\x61\x80")
def test_any_bytes_are_read_or_refused(message: bytes) -> None:
    _read_or_refuse(message)


def _read_or_refuse(message: bytes) -> None:
    try:
        value = loads(message)
    except ValueError:
        return
    assert len(typed(value)) < 100 * len(message)
