"""Blocks of a node as Dask futures, for the user's own ``client.submit``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

from distributed import Future

from limadask.cluster.link import Link, Listener
from limadask.cluster.tickets import held_block
from limadask.errors import StateError

PATIENCE = 0.1
"""Seconds between two looks for new blocks."""


class BlockFutures:
    """Iterates the futures of a node's labelled blocks as they come; ends with the run.

    Each future is a block, dims ``(frame, band, y, x)``, in the memory of the worker that made
    it. Blocks that were dropped because the iteration was slower are left out.

    Parameters
    ----------
    uuid:
        The acquisition.
    node:
        The node that holds the blocks.
    """

    def __init__(self, uuid: str, node: str) -> None:
        self._uuid, self._node = uuid, node
        self._link: Link | None = None
        self._listener: Listener | None = None
        self._seen = 0
        self._known: list[tuple[str, int]] = []

    def connect(self, link: Link) -> None:
        """Begin to hear of blocks; called when the acquisition is prepared."""
        self._link, self._listener = link, link.listen(self._uuid)

    def __iter__(self) -> Iterator[Future]:
        while (future := self._next()) is not None:
            yield future

    async def __aiter__(self) -> AsyncIterator[Future]:
        while (future := await asyncio.to_thread(self._next)) is not None:
            yield future

    def _next(self) -> Future | None:
        """Wait for the next block that is still held; None after the last."""
        if self._link is None or self._listener is None:
            raise StateError("there are no blocks yet; allowed: prepare")
        link = self._link
        asked: dict[str, Any] = {"uuid": self._uuid, "node": self._node}
        while True:
            over = link.ask("status", uuid=self._uuid)["status"]["is_over"]
            if not self._known:
                self._known = list(link.ask("notes", **asked, start=self._seen))
                self._seen += len(self._known)
            while self._known:
                worker, number = self._known.pop(0)
                if link.ask("reserve", **asked, worker=worker, number=number):
                    return self._future(link, worker, number)
            if over:
                return None
            self._listener.get(PATIENCE)

    def _future(self, link: Link, worker: str, number: int) -> Future:
        key = f"{self._node}-{self._uuid}-{worker}-{number}"
        arguments = self._uuid, self._node, number
        return link.client.submit(held_block, *arguments, workers=[worker], key=key, pure=False)
