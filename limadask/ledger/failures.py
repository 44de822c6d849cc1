"""Tasks that raised: where, for which frames, and what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

KEPT = 1000
"""Failures that are kept in words; of all the ledger knows the frames and the node."""


class Failed(NamedTuple):
    """A node that raised for frames ``first`` to ``last`` (included), and what it raised."""

    node: str
    first: int
    last: int
    text: str

    def __str__(self) -> str:
        return f"{self.node!r} raised for frames {self.first} to {self.last}: {self.text}"


class Failures:
    """What tasks raised, those of neighbouring frames as one; bounded.

    ``more`` counts those that are not kept.
    """

    def __init__(self) -> None:
        self._kept: list[Failed] = []
        self._last: dict[tuple[str, str], int] = {}
        self.more = 0

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Failed]:
        yield from self._kept

    def add(self, node: str, first: int, last: int, text: str) -> None:
        """Record that a node raised."""
        place = self._last.get((node, text), -1)
        before = self._kept[place] if place >= 0 else None
        if before is not None and first <= before.last + 1 and before.first <= last + 1:
            first, last = min(first, before.first), max(last, before.last)
            self._kept[place] = Failed(node, first, last, text)
        elif len(self._kept) < KEPT:
            self._last[node, text] = len(self._kept)
            self._kept.append(Failed(node, first, last, text))
        else:
            self.more += 1

    def knows(self, text: str) -> bool:
        """Tell whether something was raised before, by whichever node."""
        return any(one.text == text for one in self._kept)

    def lines(self) -> list[str]:
        """Return them for people, one a line."""
        return [*map(str, self._kept), *([f"… and {self.more} more"] if self.more else [])]

    def dump(self) -> tuple[list[Failed], int]:
        """Return them as plain data."""
        return list(self._kept), self.more

    @classmethod
    def load(cls, data: tuple[list[Failed], int]) -> Failures:
        """Return what was dumped."""
        made = cls()
        kept, made.more = data
        made._kept = [Failed(*one) for one in kept]
        made._last = {(one.node, one.text): place for place, one in enumerate(made._kept)}
        return made
