"""A crew whose receivers each have a part of every frame, processed apart from the others."""

from __future__ import annotations

from limadask.engine.crew import Crew
from limadask.engine.port import WorkerInfo
from limadask.engine.window import Window


class ApartCrew(Crew):
    """Hands tickets out for each receiver's parts as for frames of its own.

    Parameters
    ----------
    receivers, processors:
        The workers.
    """

    def __init__(self, receivers: list[WorkerInfo], processors: list[WorkerInfo]) -> None:
        super().__init__(receivers, processors)
        self._all = ", ".join(one.name for one in receivers)
        self._parts = {one.address: part for part, one in enumerate(receivers)}

    @property
    def received(self) -> int:
        """Frames of which every receiver that lives has its part."""
        told = [self.progress.get(one, {}) for one in self.living_receivers]
        return min((int(one.get("received", 0)) for one in told), default=0)

    def part_of(self, receiver: str) -> int:
        """Return which part of the frames a worker receives."""
        return self._parts[receiver]

    def names_of(self, window: Window) -> str:
        """Return the names of all receivers: each has a part of the frame."""
        return self._all
