"""What Dask's ``/metrics`` shows of limadask, where ``prometheus_client`` is installed.

Dask serves all that is registered in its process; one collector there asks everybody who has
something to tell.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

try:
    import prometheus_client
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
except ModuleNotFoundError:  # nobody asks, then
    prometheus_client = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from prometheus_client import Metric

logger = logging.getLogger(__name__)
PREFIX = "limadask_"
Kind = Literal["gauge", "counter"]


class Reading(NamedTuple):
    """One value: its name without :data:`PREFIX`, and a counter's without ``_total``."""

    name: str
    about: str
    value: float
    labels: dict[str, str]
    kind: Kind = "gauge"


class Source(Protocol):
    """Somebody who has something to tell."""

    def readings(self) -> Iterator[Reading]:
        """Yield what there is now; the names and labels of each are always the same."""


class Exporter:
    """Collects from all sources of a process; touched by its event loop alone."""

    def __init__(self) -> None:
        self._sources: weakref.WeakSet[Source] = weakref.WeakSet()
        self._is_registered = False

    def add(self, source: Source) -> None:
        """Ask somebody from now on."""
        self._sources.add(source)
        if prometheus_client is not None and not self._is_registered:
            prometheus_client.REGISTRY.register(self)
            self._is_registered = True

    def remove(self, source: Source) -> None:
        """Ask somebody no more."""
        self._sources.discard(source)
        if self._is_registered and not self._sources:
            prometheus_client.REGISTRY.unregister(self)
            self._is_registered = False

    def describe(self) -> list[Metric]:
        """Return nothing: what there is to collect is not known beforehand."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield all readings, those of one name together."""
        families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
        for source in list(self._sources):
            for one in _told(source):
                if one.name not in families:
                    make = CounterMetricFamily if one.kind == "counter" else GaugeMetricFamily
                    families[one.name] = make(PREFIX + one.name, one.about, labels=[*one.labels])
                families[one.name].add_metric([*one.labels.values()], one.value)
        yield from families.values()


def _told(source: Source) -> list[Reading]:
    """Return what a source tells: one that cannot must not keep Dask's own metrics from theirs."""
    try:
        return list(source.readings())
    except Exception:
        logger.exception("%s tells nothing to Prometheus", type(source).__name__)
        return []


EXPORTER = Exporter()
"""That of this process."""
