"""What the workers of a run have used, as they tell at its end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any


class Consumption:
    """What workers tell of themselves when they have done their part, by their names."""

    def __init__(self) -> None:
        self._memory: dict[str, dict[str, int]] = defaultdict(dict)
        self._used: dict[str, Mapping[str, float]] = {}
        self.settings: dict[str, dict[str, Any]] = {}
        """What each really had: of memory, since it was prepared, some may have fallen back."""

    def take(self, worker: str, told: Mapping[str, Any]) -> None:
        """Take what a worker tells: its receiver at its end, and all of it when it has closed."""
        known = self._memory[worker]
        for stage, nbytes in told.get("memory", {}).items():
            known[stage] = max(known.get(stage, 0), nbytes)
        if used := told.get("used"):
            self._used[worker] = used
        if settings := told.get("settings"):
            self.settings[worker] = settings

    def dump(self) -> dict[str, Any]:
        """Return what goes into the statistics: most memory by stage, and what was used."""
        most = {worker: dict(stages) for worker, stages in self._memory.items()}
        return {
            "memory_high_water": most,
            "used": {one: dict(it) for one, it in self._used.items()},
        }
