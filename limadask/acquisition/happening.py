"""What happens in an acquisition, for ``for`` and ``async for``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

from limadask.cluster.link import Link
from limadask.events import Event

PATIENCE = 0.5
"""Seconds between two looks whether the run is over."""


class Events:
    """Events from now on, in order; ends when both sides have ended.

    Parameters
    ----------
    link:
        The way to the scheduler.
    uuid:
        The acquisition.
    """

    def __init__(self, link: Link, uuid: str) -> None:
        self._link, self._uuid = link, uuid
        self._listener = link.listen(uuid)

    def __iter__(self) -> Iterator[Event]:
        while (event := self._next()) is not None:
            yield event

    async def __aiter__(self) -> AsyncIterator[Event]:
        while (event := await asyncio.to_thread(self._next)) is not None:
            yield event

    def _next(self) -> Event | None:
        """Wait for the next event; None after the last."""
        while True:
            event = self._listener.get(PATIENCE)
            if event is None and self._link.ask("status", uuid=self._uuid)["status"]["is_over"]:
                return self._listener.get(0.01)  # one may have come meanwhile
            if event is not None:
                return event
