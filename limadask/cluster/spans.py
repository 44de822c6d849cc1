"""Spans of Dask: one for each burst of tasks, kept for ever with its metrics; ours are not."""

from __future__ import annotations

import time
from collections.abc import Collection

from distributed import Scheduler, Worker
from distributed.spans import Span

NAME = "limadask"
"""The span that gets what is told of forgotten ones, and its number."""
LATE = 600.0
"""Seconds after which no worker tells of a span any more: Dask takes it for dead by then."""
DIGESTS = 200
"""Metrics of a worker from which on those of our spans are put together."""


class Spans:
    """Forgets spans of our tasks as soon as all of these are forgotten.

    Parameters
    ----------
    scheduler:
        Dask's scheduler.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._extension = scheduler.extensions.get("spans")
        self._over: dict[str, float] = {}
        self._foreign: set[str] = set()
        self._left = Span((NAME,), NAME, None, scheduler.total_nthreads_history)

    def forget(self, uuids: Collection[str]) -> None:
        """Forget those whose tasks are all of these acquisitions."""
        if self._extension is None:
            return
        now, spans = time.monotonic(), list(self._extension.spans_search_by_name["default",])
        if len(self._foreign) > 2 * len(spans):  # Dask has forgotten most of them
            self._foreign.clear()
        for span in spans:
            if span.id not in self._foreign and self._is_over(span, uuids):
                self._take_out(span)
                self._over[span.id] = now
        for number in [one for one, ended in self._over.items() if now - ended > LATE]:
            del self._over[number], self._extension.spans[number]

    def _is_over(self, span: Span, uuids: Collection[str]) -> bool:
        names = [group.name for group in span.groups]
        known = self._scheduler.task_groups
        if not all(name.rpartition("-")[2] in uuids for name in names):
            self._foreign.add(span.id)  # it will never be ours alone: others' history is long
            return False
        return bool(names) and not any(name in known for name in names)

    def _take_out(self, span: Span) -> None:
        """Take a span out of Dask's lists; a worker may still have metrics of it to tell."""
        spans = self._extension
        spans.spans[span.id] = self._left
        spans.root_spans.remove(span)
        spans.spans_search_by_name[span.name].remove(span)
        for tag in span.name:
            spans.spans_search_by_tag[tag].remove(span)


def merge_digests(worker: Worker, labels: Collection[str]) -> None:
    """Put a worker's metrics of our tasks together, which are kept for each span."""
    totals, largest = worker.digests_total, worker.digests_max
    if len(totals) <= DIGESTS:
        return
    for key in [one for one in totals if _is_ours(one, labels)]:
        merged = key[0], NAME, *key[2:]
        totals[merged] += totals.pop(key)
        largest[merged] = max(largest[merged], largest.pop(key, 0.0))


def _is_ours(key: object, labels: Collection[str]) -> bool:
    """Tell whether a metric is of our tasks: ``("execute", span, prefix of the key, …)``."""
    if not isinstance(key, tuple) or len(key) < 4 or key[0] != "execute":
        return False
    return key[1] != NAME and key[2] in labels
