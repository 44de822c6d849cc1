"""A reader of CBOR (RFC 8949) that does not copy: byte strings are views into the message.

``cbor2`` copies every byte string, which may take longer than to receive it.
"""

from __future__ import annotations

from struct import Struct, error
from typing import Any, NamedTuple

DEPTH = 24
"""How deep arrays, maps and tags may be nested."""
_LONGER = {24: Struct(">B"), 25: Struct(">H"), 26: Struct(">I"), 27: Struct(">Q")}
_FLOATS = {25: Struct(">e"), 26: Struct(">f"), 27: Struct(">d")}
_SIMPLE = {20: False, 21: True, 22: None, 23: None}
_ENDLESS = 31
_BREAK = 0xFF
_SELF_DESCRIBED = 55799


class Tag(NamedTuple):
    """A value, and the number of the tag that says what it means."""

    number: int
    value: Any


def loads(message: bytes | memoryview) -> Any:
    """Return the value of a message.

    Byte strings are views of ``message``; a tag is a :class:`Tag`, save that which only says that
    this is CBOR.

    Raises
    ------
    ValueError
        When it is no CBOR, not all of it, or more than one value.
    """
    data = memoryview(message)
    try:
        value, end = _item(data, 0, DEPTH)
    except (IndexError, error):
        raise ValueError("the message ends within a value") from None
    if end != len(data):
        raise ValueError(f"{len(data) - end} bytes follow after the value")
    return value


def _item(data: memoryview, at: int, depth: int) -> tuple[Any, int]:
    """Return the value that begins at a place, and where the next one begins.

    One function for the common kinds, as calls are most of what reading a message takes.
    """
    first = data[at]
    at += 1
    major, argument = first >> 5, first & 31
    if argument > 23 or major == 7:
        if major == 7:
            return _simple(data, at, argument)
        if argument == _ENDLESS:
            return _endless(data, at, major, depth)
        argument, at = _longer(data, at, argument)
    if major == 0:
        return argument, at
    if major == 2 or major == 3:
        end = at + argument
        if end > len(data):
            raise IndexError(end)
        return str(data[at:end], "utf-8") if major == 3 else data[at:end], end
    if major == 1:
        return -1 - argument, at
    if not depth:
        raise _nested()
    depth -= 1
    if major == 4:
        values = []
        for _ in range(argument):
            value, at = _item(data, at, depth)
            values.append(value)
        return values, at
    if major == 5:
        found = {}
        for _ in range(argument):
            key, at = _item(data, at, 0)
            if type(key) is not str:
                _check(key)
            found[key], at = _item(data, at, depth)
        return found, at
    value, at = _item(data, at, depth)
    return (value if argument == _SELF_DESCRIBED else Tag(argument, value)), at


def _longer(data: memoryview, at: int, size: int) -> tuple[int, int]:
    """Return a size, or a whole number, that did not fit into the first byte."""
    if size not in _LONGER:
        raise ValueError(f"no value begins with a size of kind {size}")
    form = _LONGER[size]
    return form.unpack_from(data, at)[0], at + form.size


def _nested() -> ValueError:
    return ValueError(f"values are nested more than {DEPTH} deep")


def _check(key: object) -> None:
    """Refuse keys that Python cannot have, or takes for others, as it does 1, 1.0 and true."""
    if type(key) not in (str, int):
        raise ValueError(f"a key is a {type(key).__name__}: neither text nor a whole number")


def _simple(data: memoryview, at: int, size: int) -> tuple[Any, int]:
    """Return a number with a point, true, false, or nothing."""
    if size in _FLOATS:
        form = _FLOATS[size]
        return form.unpack_from(data, at)[0], at + form.size
    if size in _SIMPLE:
        return _SIMPLE[size], at
    raise ValueError(f"there is no simple value {size}")


def _endless(data: memoryview, at: int, major: int, depth: int) -> tuple[Any, int]:
    """Return a string in pieces, or an array or a map that goes on until a break."""
    if not 2 <= major <= 5:
        raise ValueError("only strings, arrays and maps may have no size")
    if not depth:
        raise _nested()
    keys, values = [], []
    while data[at] != _BREAK:
        if major == 5:
            key, at = _item(data, at, 0)
            _check(key)
            keys.append(key)
        elif major < 4 and (data[at] >> 5 != major or data[at] & 31 == _ENDLESS):
            raise ValueError("a piece of a string is of another kind")
        value, at = _item(data, at, depth - 1)
        values.append(value)
    whole: Any = values
    if major == 5:
        whole = dict(zip(keys, values, strict=True))
    elif major < 4:
        whole = "".join(values) if major == 3 else memoryview(b"".join(values))
    return whole, at + 1
