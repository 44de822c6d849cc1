"""The highest rate at which nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

LOWEST, HIGHEST = 0.25, 1.25
"""Where it is looked for, as parts of a first guess."""
STEPS = 6
TRIES = 2
"""Runs without loss are looked for so often: other programs may disturb one."""


def highest(is_lossless: Callable[[float], bool], guess: float, steps: int = STEPS) -> float:
    """Return the highest rate at which a run is lossless, found by halving the interval.

    Parameters
    ----------
    is_lossless:
        Runs at a rate, and tells whether nothing was lost.
    guess:
        About what the rate may be.
    steps:
        How often the interval is halved.

    Raises
    ------
    RuntimeError
        When something is lost at any rate.

    Examples
    --------
    >>> round(highest(lambda rate: rate < 700, 1000), -1)
    680.0
    """

    def is_good(rate: float) -> bool:
        return any(is_lossless(rate) for _ in range(TRIES))

    low, high = LOWEST * guess, HIGHEST * guess
    while not is_good(low):
        low, high = low / 4, low
        if low < guess / 1000:
            raise RuntimeError(f"images are lost even at {low:.3g} a second")
    for _ in range(steps):
        middle = sqrt(low * high)
        low, high = (middle, high) if is_good(middle) else (low, middle)
    return low
