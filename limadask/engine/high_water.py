"""The most memory that the workers of a run have had in use."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping


class HighWater:
    """Most bytes in use, by the names of workers and by stage; told at the end of the run."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, int]] = defaultdict(dict)

    def note(self, worker: str, told: Mapping[str, int]) -> None:
        """Take what a worker tells, bytes by stage."""
        known = self._known[worker]
        for stage, nbytes in told.items():
            known[stage] = max(known.get(stage, 0), nbytes)

    def dump(self) -> dict[str, dict[str, int]]:
        """Return it as plain data."""
        return {worker: dict(stages) for worker, stages in self._known.items()}
