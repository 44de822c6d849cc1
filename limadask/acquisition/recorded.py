"""Series of a run, as the user sees them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import xarray as xr

from limadask.cluster.link import Link
from limadask.errors import ConfigError
from limadask.timeseries import TimeSeries


class RecordedSeries(Mapping[str, xr.Dataset]):
    """Series by name, asked for when they are looked at."""

    def __init__(self, link: Link, uuid: str) -> None:
        self._link, self._uuid = link, uuid

    def __getitem__(self, name: str) -> xr.Dataset:
        """Return what there is of it: ``value``, dim ``time``."""
        answer = self._link.ask("series", uuid=self._uuid, name=name)
        if name not in answer["names"]:
            raise ConfigError(
                "nothing of this name is recorded", field="name", value=name,
                allowed=answer["names"],
            )  # fmt: skip
        return TimeSeries.load(answer["series"][name]).to_dataset()

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def __contains__(self, name: object) -> bool:
        return name in self._names()

    def _names(self) -> list[str]:
        return list(self._link.ask("series", uuid=self._uuid)["names"])
