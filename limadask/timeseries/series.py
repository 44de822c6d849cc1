"""Time-stamped values of one quantity, in bounded memory."""

from __future__ import annotations

import math
from array import array
from typing import Any, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from limadask.errors import ConfigError, LimadaskError
from limadask.timeseries.value import Value

MOST = 8192
"""Numbers kept of a series."""
TEXTS = 1000
"""Texts kept of a series."""
GAPS = 100
"""Reasons kept for values that are missing."""


class TimeSeries:
    """Values with their times, either all numbers or all texts.

    Numbers are thinned: whenever there are as many as may be, every other one is dropped, and from
    then on only every second, fourth, … is kept, and the last one. Texts are never dropped: those
    that there is no room for are refused. Where a value is missing there is NaN, or no text, and a
    reason.

    Parameters
    ----------
    units:
        Units of the numbers, as NeXus has them; empty for none.
    most:
        Numbers kept, an even number.
    """

    def __init__(self, units: str = "", most: int = MOST) -> None:
        self.units, self._most = units, most
        self.step = 1
        """Of how many numbers one is kept."""
        self.count = 0
        """Values so far, kept or not."""
        self.lost = 0
        """Values that there was no room for."""
        self.gaps: list[tuple[int, str]] = []
        """When values were missing, UTC nanoseconds, and why."""
        self.more_gaps = 0
        """Further reasons that are not kept."""
        self._times, self._numbers, self._texts = array("q"), array("d"), list[str]()
        self._last: tuple[int, float] | None = None
        self._is_text: bool | None = None
        self._reason = ""

    # ---- what comes in ------------------------------------------------------------------------

    def add(self, time: int, value: Value) -> None:
        """Add a value of a time, UTC nanoseconds.

        Raises
        ------
        ConfigError
            When it is a text among numbers, or a number among texts.
        LimadaskError
            When there is no room for another text.
        """
        is_text = isinstance(value, str)
        if self._is_text is None and (isinstance(value, str) or not math.isnan(value)):
            self._decide(is_text)
        if is_text != bool(self._is_text):
            kinds = ("numbers", "texts") if self._is_text is False else ("texts", "numbers")
            raise ConfigError(
                f"this series holds {kinds[0]}", field="value", value=value, allowed=kinds[0]
            )
        self._reason = ""
        self._put(time, value)

    def miss(self, time: int, reason: str) -> None:
        """Note that there is no value at a time, and why; a reason is told once in a row."""
        try:
            self._put(time, "" if self._is_text else math.nan)
        except LimadaskError:
            self.lost += 1
        if reason != self._reason:
            if len(self.gaps) < GAPS:
                self.gaps.append((time, reason))
            else:
                self.more_gaps += 1
        self._reason = reason

    def _decide(self, is_text: bool) -> None:
        """Hold texts or numbers from now on; so far values were only missing."""
        self._is_text = is_text
        if is_text:
            times = self.times[:TEXTS].tolist()
            self._times, self._texts = array("q", times), [""] * len(times)
            self._numbers, self._last, self.step = array("d"), None, 1

    def _put(self, time: int, value: Value) -> None:
        if isinstance(value, str):
            if len(self._texts) >= TEXTS:
                raise LimadaskError(
                    f"there is no room for another text: a series holds {TEXTS}; begin another one"
                )
            self._texts.append(value)
            self._times.append(time)
        else:
            if self.count % self.step == 0 and len(self._times) >= self._most:
                self._times, self._numbers = self._times[::2], self._numbers[::2]
                self.step *= 2
            if self.count % self.step == 0:
                self._times.append(time)
                self._numbers.append(value)
                self._last = None
            else:
                self._last = time, value
        self.count += 1

    # ---- what is there ------------------------------------------------------------------------

    @property
    def is_text(self) -> bool:
        """Whether it holds texts."""
        return bool(self._is_text)

    @property
    def last_time(self) -> int | None:
        """The time of what came last, None where nothing has come."""
        if self._last is not None:
            return self._last[0]
        return self._times[-1] if self._times else None

    @property
    def times(self) -> NDArray[np.int64]:
        """UTC nanoseconds."""
        return self._with_last(self._times, 0, "i8")

    @property
    def values(self) -> NDArray[Any]:
        """Numbers or texts, as many as :attr:`times`."""
        if self._is_text:
            return np.array(self._texts, dtype=object)
        return self._with_last(self._numbers, 1, "f8")

    def _with_last(self, kept: array[Any], place: int, dtype: str) -> NDArray[Any]:
        last = [] if self._last is None else [self._last[place]]
        return np.array([*kept, *last], dtype)

    def ordered(self) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Return times and values by time: notes of several clients may cross on their way."""
        order = np.argsort(self.times, kind="stable")
        return self.times[order], self.values[order]

    def to_dataset(self) -> xr.Dataset:
        """Return ``value`` with dim ``time``, UTC, and why values are missing as an attribute."""
        times, values = self.ordered()
        stamps = times.view("datetime64[ns]")
        values = values.astype(str) if self.is_text else values
        attributes = {"units": self.units} if self.units else {}
        made = xr.Dataset({"value": ("time", values, attributes)}, {"time": stamps})
        if self.gaps:
            made.attrs["gaps"] = [f"{np.datetime64(at, 'ns')}Z: {why}" for at, why in self.gaps]
        return made

    def dump(self) -> dict[str, Any]:
        """Return it as plain data and bytes, for a message."""
        return {
            "units": self.units,
            "most": self._most,
            "times": self.times.tobytes(),
            "values": list(self._texts) if self._is_text else self.values.tobytes(),
            "step": self.step,
            "count": self.count,
            "lost": self.lost,
            "gaps": self.gaps,
            "more_gaps": self.more_gaps,
        }

    @classmethod
    def load(cls, data: dict[str, Any]) -> Self:
        """Return the series that was dumped, to be looked at."""
        made = cls(data["units"], data["most"])
        made._times = array("q", np.frombuffer(data["times"], np.int64).tolist())
        made._is_text = not isinstance(data["values"], bytes)
        if made._is_text:
            made._texts = list(data["values"])
        else:
            made._numbers = array("d", np.frombuffer(data["values"]).tolist())
        for name in ("step", "count", "lost", "more_gaps"):
            setattr(made, name, data[name])
        made.gaps = [(int(time), str(text)) for time, text in data["gaps"]]
        return made
