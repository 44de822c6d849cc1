"""What Dask remembers for its developers, cut short: it would hold all that has been sent."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable

from dask.utils import key_split
from distributed import Client, Scheduler
from distributed.batched import BatchedSend

logger = logging.getLogger(__name__)
SENT = 10
"""Batches of messages that a stream remembers; Dask's 1000, of up to 1 MB each, may be a GB."""

KEYS = 2000
"""Names of tasks whose prefixes Dask remembers; it would remember 100 000."""


def shorten(streams: Iterable[BatchedSend]) -> None:
    """Let streams remember no more than the last batches that they have sent."""
    for stream in streams:
        if stream.recent_message_log.maxlen != SENT:
            stream.recent_message_log = deque(stream.recent_message_log, SENT)


def streams_of(scheduler: Scheduler, client: Client | None) -> list[BatchedSend]:
    """Return all streams of a scheduler, and that of a client beside it."""
    own = [client.scheduler_comm] if client is not None and client.scheduler_comm else []
    return [*scheduler.stream_comms.values(), *scheduler.client_comms.values(), *own]


def tidy(more: Callable[[], object]) -> None:
    """Forget names of tasks and do more of that kind: Dask's affairs, which must stop nothing."""
    try:
        forget_keys()
        more()
    except Exception:
        logger.exception("Dask's records cannot be cut short")


def forget_keys() -> None:
    """Let this process remember no more than the last names of tasks; Dask finds them anew."""
    if key_split.cache_info().currsize > KEYS:
        key_split.cache_clear()
