"""Values that come to the client by themselves, sent on to the coordinator."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import AsyncIterable, Mapping
from contextlib import suppress
from typing import Any

from limadask.cluster.link import Link
from limadask.errors import ConfigError, LimadaskError
from limadask.timeseries import Outbox, Streamed, checked_value

logger = logging.getLogger(__name__)
EVERY = 0.25
"""Seconds between two parcels."""


def follow(link: Link, uuid: str, streams: Mapping[str, Streamed]) -> None:
    """Follow some streams to the end of a run, each in a thread of its own.

    What a stream raises is recorded, and ends it alone.
    """
    for name, stream in streams.items():
        _Follower(link, uuid, name, stream).start()


class _Follower(threading.Thread):
    """Follows one stream; keeps no process alive."""

    def __init__(self, link: Link, uuid: str, name: str, stream: Streamed) -> None:
        super().__init__(name=f"limadask-stream-{name}", daemon=True)
        self._link, self._uuid, self._name, self._source = link, uuid, name, stream.source
        self._outbox = Outbox()

    def run(self) -> None:
        """Take values and send them on, until there are no more or the run is over."""
        try:
            if isinstance(self._source, AsyncIterable):
                asyncio.run(self._iterate(self._source))
            else:
                self._empty(self._source)
        except Exception as error:  # any user's code
            self._outbox.put(self._name, time.time_ns(), None, f"{type(error).__name__}: {error}")
        self._send()

    def _empty(self, source: queue.Queue[Any] | queue.SimpleQueue[Any]) -> None:
        until = time.monotonic() + EVERY
        while True:
            with suppress(queue.Empty):
                self._take(source.get(timeout=max(0.0, until - time.monotonic())))
            if time.monotonic() >= until:
                if not self._send():
                    return
                until = time.monotonic() + EVERY

    async def _iterate(self, source: AsyncIterable[Any]) -> None:
        async def take_all() -> None:
            async for value in source:
                self._take(value)

        taking = asyncio.ensure_future(take_all())
        try:
            while not (await asyncio.wait([taking], timeout=EVERY))[0]:
                if not self._send():
                    return
            taking.result()
        finally:
            taking.cancel()

    def _take(self, item: Any) -> None:
        now, value = time.time_ns(), item
        if isinstance(item, tuple) and len(item) == 2:
            now, value = int(item[0]), item[1]
        try:
            self._outbox.put(self._name, now, checked_value(value, self._name))
        except ConfigError as error:
            self._outbox.put(self._name, now, None, str(error))

    def _send(self) -> bool:
        """Send what there is; tell whether the run goes on."""
        try:
            answer = self._link.ask("record", uuid=self._uuid, parcel=self._outbox.take())
        except (LimadaskError, OSError) as error:  # the run goes on without this client
            logger.info("the series %r ends: %s", self._name, error)
            return False
        return not answer["is_over"]
