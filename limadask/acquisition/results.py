"""By-products and observation points, as the user sees them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr

from limadask import task
from limadask.cluster.link import Link
from limadask.engine.messages import loads
from limadask.errors import ConfigError, LimadaskError, StalledError
from limadask.frames import concatenated, last_of


class Products(Mapping[str, xr.Dataset]):
    """By-products by node, fetched as they are asked for; each part travels once.

    Results of the whole run come from the workers, which have a part of them each.
    """

    def __init__(
        self, link: Link, uuid: str, planned: Mapping[str, task.Products], workers: list[str]
    ) -> None:
        self._link, self._uuid, self._planned, self._workers = link, uuid, planned, workers
        self._parts: dict[str, list[tuple[Any, task.Values]]] = {name: [] for name in planned}

    @classmethod
    def of(cls, link: Link, uuid: str, outputs: Mapping[str, Any], workers: list[str]) -> Products:
        """Return the by-products among the outputs of a plan."""
        planned = {n: out for n, out in outputs.items() if isinstance(out, task.Products)}
        return cls(link, uuid, planned, workers)

    def __getitem__(self, node: str) -> xr.Dataset:
        """Return a snapshot: dims ``(frame, …)``, sorted by frame; ``(…)`` of the whole run."""
        if node not in self._planned:
            raise ConfigError(
                "no node of this name yields by-products",
                field="name",
                value=node,
                allowed=list(self._planned),
            )
        if self._planned[node].running is not None:
            return self._of_run(node)
        parts = self._parts[node]
        new = self._link.ask("products", uuid=self._uuid, node=node, start=len(parts))
        parts += [loads(data) for data in new]
        planned = self._planned[node]
        if not parts:
            return task.dataset(planned, np.empty(0, np.int64), task.empty(planned))
        numbers = np.concatenate([numbers for numbers, _ in parts])
        values = task.stacked([values for _, values in parts])
        numbers, first = np.unique(numbers, return_index=True)
        return task.dataset(planned, numbers, task.chosen(planned, values, first))

    def _of_run(self, node: str) -> xr.Dataset:
        """Merge what the workers know of a whole run; what a dead one knew is lost."""
        states, gone = [], []
        for worker in self._workers:
            try:
                answer = self._link.ask_worker(
                    worker, "pull", uuid=self._uuid, node=node, what="state"
                )
            except StalledError:
                raise
            except LimadaskError as error:
                if not isinstance(error.__cause__, OSError):  # it is there, and something is wrong
                    raise
                answer = None
            if answer is None:
                gone.append(worker)
            else:
                states.append(loads(answer))
        whole = task.result_of_run(self._planned[node], states)
        return whole.assign_attrs(lost_workers=gone) if gone else whole

    def __iter__(self) -> Iterator[str]:
        return iter(self._planned)

    def __len__(self) -> int:
        return len(self._planned)


class Observation:
    """One observation point; pixels come straight from the workers, when asked for."""

    def __init__(self, link: Link, uuid: str, node: str, workers: list[str]) -> None:
        self._link, self._uuid, self._node, self._workers = link, uuid, node, workers

    def latest(self) -> xr.DataArray:
        """Return the frame of the highest number seen, dims ``(band, y, x)``.

        Raises
        ------
        LookupError
            When none has been seen yet.
        """
        found = self._pull("latest")
        if not found:
            raise LookupError(f"{self._node!r} has seen no frame yet")
        return last_of(max(found, key=lambda one: int(one["frame"][-1])))

    def history(self) -> xr.DataArray:
        """Return the frames kept, oldest first, dims ``(frame, band, y, x)``."""
        found = self._pull("recent")
        if not found:
            raise LookupError(f"{self._node!r} has seen no frame yet")
        return concatenated(found)

    def _pull(self, what: str) -> list[xr.DataArray]:
        answers = [
            self._link.ask_worker(worker, "pull", uuid=self._uuid, node=self._node, what=what)
            for worker in self._workers
        ]
        return [answer for answer in map(_opened, answers) if answer is not None]


class Observations:
    """Observation points by node."""

    def __init__(self, link: Link, uuid: str, workers: list[str], names: list[str]) -> None:
        self._link, self._uuid, self._workers, self._names = link, uuid, workers, names

    def __getitem__(self, node: str) -> Observation:
        if node not in self._names:
            raise ConfigError(
                "no node of this name observes", field="name", value=node, allowed=self._names
            )
        return Observation(self._link, self._uuid, node, self._workers)


def _opened(answer: Any) -> xr.DataArray | None:
    return None if answer is None else loads(answer)
