"""Watches that a run moves: no wait is without a bound."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from limadask.engine.run import Run

Stage = Literal["detector", "processing"]
ADVICE = {
    "prepare": "check the detector's connection",
    "detector": "check the detector's state and its trigger",
    "processing": "check the tasks and the workers' load on the dashboard",
    "closing": "check the disk",
}
"""What to look at where a stage stands still."""


class Watch:
    """Notes when a run last moved, and what stands still.

    Parameters
    ----------
    run:
        The run.
    timeout:
        Seconds without progress that are too many, besides three frame periods.
    """

    def __init__(self, run: Run, timeout: float) -> None:
        self._run, self._timeout = run, timeout
        self._last: Any = None
        self._moved = time.monotonic()

    def look(self, now: float) -> tuple[Stage, str] | None:
        """Return the stage that has stood still for too long, and what to say of it."""
        run = self._run
        progress = run.crew.received, run.account.done, len(run.crew.tickets), *run.states
        stage = self._due()
        if progress != self._last or stage is None:
            self._last, self._moved = progress, now
            return None
        waited, patience = now - self._moved, self._timeout + 3 * run.timing.period
        if waited <= patience:
            return None
        counts = f"{run.crew.received} frames received, {run.account.done} processed"
        return stage, f"nothing has moved for {waited:.0f} s ({counts}); {ADVICE[stage]}"

    def _due(self) -> Stage | None:
        """Return the stage that should move, if any; for some triggers nobody knows."""
        run = self._run
        detector, processing = run.states
        if processing != "processing":
            return None
        if run.crew.received > run.account.done:
            return "processing"
        if detector == "acquiring":
            owed = run.timing.owed(run.triggers)
            return "detector" if owed is None or run.crew.seen < owed else None
        return "processing" if run.detector.ended else "detector"
