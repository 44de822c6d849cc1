"""The messages of a series, encoded once; only the numbers in an image are written anew."""

from __future__ import annotations

from typing import Protocol

Parts = list[bytes | bytearray]
BEGAN = "2026-01-01T12:00:00.000+01:00"
"""When each series began."""
TICKS = 50_000_000
"""Ticks a second of a detector's clock."""
PERIOD = 1_000_000
"""Ticks from one image to the next."""
EXPOSURE = 900_000
"""Ticks that an exposure takes."""


class Messages(Protocol):
    """The messages of a stream."""

    def start(self, series: int, count: int) -> Parts:
        """Return the message that begins a series of ``count`` images."""

    def image(self, series: int, number: int) -> Parts:
        """Return an image; the message is good until the same image is asked for again."""

    def end(self, series: int) -> Parts:
        """Return the message that ends a series."""
