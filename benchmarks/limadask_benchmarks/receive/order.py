"""What a sender is asked for, and what it has done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Order:
    """A series to send.

    Parameters
    ----------
    series, frames:
        Its number, and how many images it has.
    rate:
        Images a second; 0 sends as fast as they are taken.
    drops:
        Whether an image is dropped that cannot be sent at once, as a detector does whose memory
        is full; else it waits.
    peers:
        Receivers that are connected; it is waited for.
    lose, duplicate, late, corrupt, misshape:
        Images that are not sent, sent twice, sent after the next one, with a payload that is
        wrong, or of another shape.
    start, end:
        Whether the series has these messages.
    """

    series: int = 1
    frames: int = 100
    rate: float = 0.0
    drops: bool = False
    peers: int = 1
    lose: list[int] = field(default_factory=list)
    duplicate: list[int] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    corrupt: list[int] = field(default_factory=list)
    misshape: list[int] = field(default_factory=list)
    start: bool = True
    end: bool = True

    def numbers(self) -> Iterator[int]:
        """Yield the images in the order in which they are sent."""
        held: list[int] = []
        for number in range(self.frames):
            if number in self.late:
                held.append(number)
                continue
            if number not in self.lose:
                yield number
            if number in self.duplicate:
                yield number
            yield from held
            held.clear()
        yield from held


@dataclass(slots=True)
class Sent:
    """What was sent.

    Parameters
    ----------
    frames, nbytes:
        Images, and the bytes of their messages.
    dropped:
        Images that were dropped.
    seconds, cpu:
        How long it took, and the CPU seconds spent.
    """

    frames: int = 0
    nbytes: int = 0
    dropped: int = 0
    seconds: float = 0.0
    cpu: float = 0.0

    @property
    def cpu_per_gb(self) -> float:
        """CPU seconds spent on a GB."""
        return self.cpu / self.nbytes * 1e9
