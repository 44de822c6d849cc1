"""Blocks of a node as Dask futures, for the user's own ``client.submit``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from distributed import Client, Future

from limadask.cluster.link import Link, Listener
from limadask.cluster.tickets import held_block
from limadask.errors import StateError

if TYPE_CHECKING:
    from limadask.acquisition.acquisition import Acquisition


class BlockFutures:
    """Iterates the futures of a node's labelled blocks as they come; ends with the run.

    Each future is a block, dims ``(frame, band, y, x)``, in the memory of the worker that made
    it. Blocks that were dropped because the iteration was slower are left out.
    """

    def __init__(self, acquisition: Acquisition, node: str) -> None:
        self._acquisition, self._node = acquisition, node
        self._link: Link | None = None
        self._listener: Listener | None = None
        self._seen = 0
        self._known: list[tuple[str, int]] = []

    def connect(self, link: Link) -> None:
        """Begin to hear of blocks; called when the acquisition is prepared."""
        self._link, self._listener = link, link.listen(self._acquisition.uuid)

    def __iter__(self) -> Iterator[Future]:
        while (future := self._next()) is not _OVER:
            if future is not None:
                yield future

    async def __aiter__(self) -> AsyncIterator[Future]:
        while (future := await asyncio.to_thread(self._next)) is not _OVER:
            if future is not None:
                yield future

    def _next(self) -> Any:
        """Return a future, None for now, or ``_OVER``."""
        if self._link is None or self._listener is None:
            raise StateError("there are no blocks yet; allowed: prepare")
        link, uuid = self._link, self._acquisition.uuid
        over = self._acquisition.statistics()["is_over"]
        if not self._known:
            new = link.ask("notes", uuid=uuid, node=self._node, start=self._seen)
            self._seen += len(new)
            self._known += new
        if not self._known:
            if over:
                return _OVER
            self._listener.get(0.1)
            return None
        worker, number = self._known.pop(0)
        if not link.ask("reserve", uuid=uuid, node=self._node, worker=worker, number=number):
            return None
        client: Client = link.client
        key = f"{self._node}-{uuid}-{worker}-{number}"
        return client.submit(
            held_block, uuid, self._node, number, workers=[worker], key=key, pure=False
        )


_OVER = object()
