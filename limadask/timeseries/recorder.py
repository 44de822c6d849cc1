"""All series of one run."""

from __future__ import annotations

from typing import Any

from limadask.errors import ConfigError, LimadaskError
from limadask.timeseries.outbox import Parcel
from limadask.timeseries.series import MOST, TimeSeries
from limadask.timeseries.value import Value

NOTED = 256
"""Series that notes may begin."""


class Recorder:
    """Keeps series by name; runs no user code.

    Those of sources are declared first: nobody else adds to them. Names with a ``/`` are those of
    the detector and the pipeline.
    """

    def __init__(self) -> None:
        self._series: dict[str, TimeSeries] = {}
        self._noted: set[str] = set()
        self._taken: dict[str, int] = {}

    def declare(self, name: str, units: str = "", most: int = MOST) -> TimeSeries:
        """Return a series that a source fills, begun if it is not there."""
        if name not in self._series:
            self._series[name] = TimeSeries(units, most)
        return self._series[name]

    def take(self, parcel: Parcel) -> None:
        """Take what a source has sent; what comes a second time is left out."""
        sender, first = parcel["sender"], parcel["first"]
        known = self._taken.get(sender, 0)
        self._taken[sender] = max(known, first + len(parcel["samples"]))
        for name, time, value, reason in parcel["samples"][max(0, known - first) :]:
            series = self._series.get(name)
            if series is None:
                continue
            if value is None:
                series.miss(time, reason)
                continue
            try:
                series.add(time, value)
            except ConfigError as error:
                series.miss(time, str(error))
            except LimadaskError:
                series.lost += 1

    def note(self, name: str, time: int, value: Value, units: str) -> None:
        """Take a value that a user notes.

        Raises
        ------
        ConfigError
            When a source fills this series, its units are others, or it holds another kind.
        LimadaskError
            When there is no room.
        """
        known = self._series.get(name)
        if known is not None and name not in self._noted:
            raise ConfigError(
                "a source of its own fills this series", node="metadata", field="name",
                value=name, allowed="another name",
            )  # fmt: skip
        if known is None:
            if len(self._noted) >= NOTED:
                raise LimadaskError(f"a run has at most {NOTED} series of notes; these are enough")
            known = self._series[name] = TimeSeries(units)
            self._noted.add(name)
        if units and units != known.units:
            raise ConfigError(
                "this series has other units", node="metadata", field="units", value=units,
                allowed=known.units or "none",
            )  # fmt: skip
        try:
            known.add(time, value)
        except ConfigError as error:
            raise error.at("metadata") from error

    @property
    def names(self) -> list[str]:
        """Names of all series."""
        return list(self._series)

    def dump(self, name: str | None = None) -> dict[str, Any]:
        """Return all series that hold anything, or one, as plain data and bytes by name."""
        if name is not None:
            known = self._series.get(name)
            return {} if known is None else {name: known.dump()}
        return {title: one.dump() for title, one in self._series.items() if one.count}
