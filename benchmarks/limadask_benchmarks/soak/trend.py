"""Whether something grows, or only goes up and down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import theilslopes

from limadask_benchmarks.results import Figure

WARM = 0.2
"""Share of the values, the first ones, that do not count: some memory is used only then."""
LEAST = 0.01
"""Growth as a share of the limit below which it is called that much: nothing is divided by zero."""


@dataclass(frozen=True, slots=True)
class Trend:
    """How something has grown.

    Parameters
    ----------
    level:
        The median.
    growth:
        The slope (Theil and Sen's: the median of all pairs') times the time between the first value
        and the last.
    noise:
        What it goes up and down besides: from the 5th percentile to the 95th, about the slope.
    values:
        How many there are.
    """

    level: float
    growth: float
    noise: float
    values: int

    @classmethod
    def of(cls, times: Sequence[float], values: Sequence[float], warm: float = WARM) -> Trend:
        """Fit a line.

        Raises
        ------
        ValueError
            When there are too few values.
        """
        skipped = int(len(values) * warm)
        x, y = (np.asarray(one[skipped:], float) for one in (times, values))
        if len(y) < 5:
            raise ValueError(f"{len(y)} values tell no trend")
        slope, start = theilslopes(y, x)[:2]
        low, high = np.percentile(y - (start + slope * x), (5, 95))
        return cls(float(np.median(y)), float(slope * (x[-1] - x[0])), float(high - low), len(y))

    def figure(self, what: str, least: float) -> Figure:
        """Return the growth against the noise, or against ``least`` where there is less of it."""
        limit = max(self.noise, least)
        ratio = limit / max(self.growth, LEAST * limit)
        return Figure(what, round(self.growth, 3), round(limit, 3), round(ratio, 2), self.values)
