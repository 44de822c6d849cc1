"""One sender and its readers, each in a process of its own."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Literal, Self

from limadask_benchmarks.receive.images import Images
from limadask_benchmarks.receive.order import Sent
from limadask_benchmarks.receive.program import Program
from limadask_benchmarks.receive.task import Taken

CAPACITY = 256
"""Messages that the sender keeps for each reader, as the memory of a detector does."""


@dataclass(frozen=True, slots=True)
class Run:
    """A series that was sent and read.

    Parameters
    ----------
    sent:
        What was sent.
    taken:
        What each reader took.
    """

    sent: Sent
    taken: tuple[Taken, ...]

    @property
    def lost(self) -> int:
        """Images that no reader took."""
        return self.sent.frames + self.sent.dropped - sum(one.frames for one in self.taken)

    @property
    def rate(self) -> float:
        """Images a second of all readers together."""
        return sum(one.timed / one.seconds for one in self.taken)

    @property
    def cpu(self) -> float:
        """CPU seconds that the readers spent on a GB."""
        timed = sum(one.timed for one in self.taken)
        nbytes = timed * self.sent.nbytes / self.sent.frames
        return sum(one.cpu for one in self.taken) / nbytes * 1e9


class Bench:
    """A sender, and readers of several kinds, which work one after the other.

    Parameters
    ----------
    stream, images:
        What is sent.
    """

    def __init__(self, stream: Literal["v1", "stream2"], images: Images) -> None:
        self.stream, self.images = stream, images
        self._stack, self._series = ExitStack(), 0
        self._look = {"stream": stream, "images": asdict(images)}
        self._sender = self._stack.enter_context(Program("sender", capacity=CAPACITY, **self._look))
        self.address = self._sender.greeting
        self._readers: dict[tuple[str, int], Program] = {}

    def run(self, kind: str, count: int, frames: int, rate: float = 0.0) -> Run:
        """Send a series to ``count`` readers of a kind, at a rate or as fast as they take it."""
        series = self.next_series()
        readers = [self._reader(kind, index) for index in range(count)]
        for index, reader in enumerate(readers):
            reader.tell(series=series, frames=frames, index=index, count=count)
        sent = self.send(series, frames, count, rate)
        return Run(sent, tuple(Taken(**reader.answer()) for reader in readers))

    def next_series(self) -> int:
        """Return the number of a new series, once all readers before are gone.

        What is sent to them would be lost.
        """
        self._ask(frames=0, peers=0, start=False, end=False)
        self._series += 1
        return self._series

    def send(self, series: int, frames: int, peers: int, rate: float = 0.0) -> Sent:
        """Send a series to readers that are there, or about to come."""
        return self._ask(series=series, frames=frames, peers=peers, rate=rate, drops=rate > 0)

    def _ask(self, **order: Any) -> Sent:
        self._sender.tell(**order)
        return Sent(**self._sender.answer())

    def _reader(self, kind: str, index: int) -> Program:
        if (kind, index) not in self._readers:
            self._readers[kind, index] = self._stack.enter_context(
                Program("reader", kind=kind, address=self.address, **self._look)
            )
        return self._readers[kind, index]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()
