"""Figures of a benchmark, as people and programs read them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure.

    Parameters
    ----------
    what:
        What was measured.
    value:
        The median.
    limit:
        What it is held against.
    ratio:
        Value ÷ limit for rates, limit ÷ value for times and sizes: more is better.
    repeats:
        How often it was measured.
    """

    what: str
    value: float
    limit: float
    ratio: float
    repeats: int

    @classmethod
    def rate(cls, what: str, value: float, limit: float, repeats: int = 1) -> Figure:
        """Return a figure of which more is better."""
        return cls(what, _short(value), _short(limit), _short(value / limit), repeats)

    @classmethod
    def cost(cls, what: str, value: float, limit: float, repeats: int = 1) -> Figure:
        """Return a figure of which less is better."""
        return cls(what, _short(value), _short(limit), _short(limit / value), repeats)

    @classmethod
    def none_of(cls, what: str, count: int, total: int) -> Figure:
        """Return how many went wrong, of how many; the ratio is the share that did not."""
        return cls(what, count, 0, _short(1 - count / max(1, total)), total)


def paired(what: str, pairs: Sequence[tuple[float, float]]) -> Figure:
    """Return a rate against a peer measured in turn: the median of the ratios pair by pair."""
    ratio = statistics.median(mine / other for mine, other in pairs)
    mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    return Figure(what, _short(mine), _short(other), _short(ratio), len(pairs))


def paired_cost(what: str, pairs: Sequence[tuple[float, float]]) -> Figure:
    """Return a cost against a peer's measured in turn: the median of the ratios pair by pair.

    A cost of nothing, in a run too short for the clock, counts as the peer's.
    """
    ratio = statistics.median(other / mine if mine else 1.0 for mine, other in pairs)
    mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    return Figure(what, _short(mine), _short(other), _short(ratio), len(pairs))


def _short(value: float) -> float:
    return float(f"{value:.4g}")
