"""Where messages of CBOR differ that are otherwise alike: in some numbers, in their payloads."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from typing import Any

from limadask_detectors.dectris.cbor import Tag

_NUMBER = rb"([\x00-\x17]|\x18.|\x19.{2}|\x1a.{4}|\x1b.{8})"
_SIZE = rb"([\x40-\x57]|\x58.|\x59.{2}|\x5a.{4}|\x5b.{8})"
"""The beginning of a whole number, and of a string of bytes, in all their lengths."""
_ENDLESS = 31


class Layout:
    """The bytes that messages have in common, as patterns around their payloads.

    Parameters
    ----------
    message:
        One of them, which is known to be CBOR.
    free:
        Which of its whole numbers may differ, counted in their order.

    Raises
    ------
    ValueError
        When it has a value without a size.
    """

    def __init__(self, message: memoryview, free: Container[int]) -> None:
        patterns, at = [b""], 0
        self.count = 0
        """Whole numbers in the message."""
        while at < len(message):
            major, size = message[at] >> 5, message[at] & 31
            if size == _ENDLESS:
                raise ValueError("a value has no size")
            begin, at = at, at + 1 + (1 << size - 24 if size > 23 else 0)
            head = bytes(message[begin:at])
            if major == 0:
                patterns[-1] += _NUMBER if self.count in free else re.escape(head)
                self.count += 1
            elif major == 2:
                patterns[-1] += _SIZE
                patterns.append(b"")
                at += _argument(head)
            else:
                at += _argument(head) if major == 3 else 0
                patterns[-1] += re.escape(bytes(message[begin:at]))
        *between, last = (re.compile(one, re.DOTALL) for one in patterns)
        self._between, self._last = between, last

    def read(self, message: memoryview) -> tuple[list[int], list[memoryview]] | None:
        """Return the free numbers and the payloads of a message; None if it is not alike."""
        numbers: list[int] = []
        payloads: list[memoryview] = []
        at = 0
        for pattern in self._between:
            match = pattern.match(message, at)
            if match is None:
                return None
            *found, size = map(_argument, match.groups())
            numbers += found
            at = match.end() + size
            payloads.append(message[match.end() : at])
        match = self._last.match(message, at) if at <= len(message) else None
        if match is None or match.end() != len(message):
            return None
        numbers += map(_argument, match.groups())
        return numbers, payloads


def owners(fields: dict[Any, Any]) -> Iterator[Any]:
    """Yield the field that each whole number in a message stands in, in their order."""
    for name, value in fields.items():
        if type(name) is int and name >= 0:
            yield None
        for _ in _numbers(value):
            yield name


def _numbers(value: Any) -> Iterator[int]:
    if type(value) is int and value >= 0:
        yield value
    elif isinstance(value, Tag):
        yield from _numbers(value.value)
    elif isinstance(value, list | dict):
        for one in value:
            yield from _numbers(one)
            if isinstance(value, dict):
                yield from _numbers(value[one])


def _argument(head: bytes) -> int:
    """Return the number, or the size, that a value begins with."""
    return head[0] & 31 if len(head) == 1 else int.from_bytes(head[1:], "big")
