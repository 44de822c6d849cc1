"""How full memory is, and how soon it will be: levels that do not flutter."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import inf
from typing import Literal, get_args

Level = Literal["ok", "high", "critical", "overrun"]
LEVELS: tuple[Level, ...] = get_args(Level)
"""From the lowest to the highest."""
ENTERED = {"high": 0.75, "critical": 0.9}
"""How full it is when a level begins."""
LEFT = {"high": 0.5, "critical": 0.75, "overrun": 0.9}
"""How full it is at most when a level ends."""
HALF, SOON = 0.5, 2.0
"""It is high, too, when more than half is full and the rest will be in so many seconds."""
LOOKED_BACK = 3.0
"""Seconds over which the rate is taken."""
SHORTEST = 0.2
"""Seconds that it must be known for before there is a rate."""
SPACING = 0.05
"""Seconds between two amounts that are remembered."""


@dataclass(frozen=True, slots=True)
class Pressure:
    """How full memory is.

    Parameters
    ----------
    level:
        ``ok``, ``high``, ``critical``, or ``overrun``: somebody waits for memory.
    seconds_left:
        Seconds until it is full, at the rate of the last seconds; inf where it does not fill.
    """

    level: Level = "ok"
    seconds_left: float = inf

    @property
    def rank(self) -> tuple[int, float]:
        """What the worst of several has most of."""
        return LEVELS.index(self.level), -self.seconds_left


class Judge:
    """Makes a level of how much is in use; not for several threads at a time.

    A level begins at once, and ends only when clearly less is in use.
    """

    def __init__(self) -> None:
        self._level: Level = "ok"
        self._known: deque[tuple[float, float]] = deque()

    def judge(self, now: float, used: float, capacity: float, starved: bool = False) -> Pressure:
        """Return how it is now.

        Parameters
        ----------
        now:
            Seconds of the monotonic clock.
        used, capacity:
            How much is in use, and of how much: bytes, blocks, or anything else.
        starved:
            Whether somebody waits for some.
        """
        full = used / capacity if capacity > 0 else 1.0
        seconds_left = self._seconds_left(now, used, capacity)
        entered = self._entered(full, seconds_left, starved)
        if LEVELS.index(entered) > LEVELS.index(self._level):
            self._level = entered
        else:
            while self._level != entered and full < LEFT[self._level]:
                self._level = LEVELS[LEVELS.index(self._level) - 1]
        return Pressure(self._level, 0.0 if self._level == "overrun" else seconds_left)

    def _entered(self, full: float, seconds_left: float, starved: bool) -> Level:
        """Return the level as it would be if nothing were known of before."""
        if starved:
            return "overrun"
        if full >= ENTERED["critical"]:
            return "critical"
        is_soon = full >= HALF and seconds_left <= SOON
        return "high" if is_soon or full >= ENTERED["high"] else "ok"

    def _seconds_left(self, now: float, used: float, capacity: float) -> float:
        """Return when it will be full if it goes on as over the last seconds."""
        known = self._known
        if not known or now - known[-1][0] >= SPACING:
            known.append((now, used))
        while len(known) > 1 and now - known[0][0] > LOOKED_BACK:
            known.popleft()
        since, before = known[0]
        if now - since < SHORTEST or used <= before:
            return inf
        return max(0.0, capacity - used) * (now - since) / (used - before)
