"""Acquisitions that follow one another, as their user sees them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Literal, Self, overload
from uuid import uuid4

from distributed import Client

from limadask.acquisition import waiting
from limadask.acquisition.acquisition import Acquisition
from limadask.cluster.link import Link
from limadask.errors import AcquisitionFailed, ConfigError, StateError

Processing = Literal["live", "deferred"]


class Batch(Sequence[Acquisition]):
    """Acquisitions that run one after the other.

    Each is prepared while the one before acquires, where the detector allows that, and starts as
    soon as that one is acquired. One that fails does not touch the others. Once started the batch
    needs no client. Leaving it as a context before its end aborts what is left of it.

    Parameters
    ----------
    client:
        Client of any Dask cluster.
    processing:
        ``live``: frames are processed as they come; ``deferred``: they are held in memory and on
        disk until :meth:`process` or :meth:`wait`.

    Raises
    ------
    ConfigError
        When ``processing`` is neither.
    """

    def __init__(self, client: Client, processing: Processing = "live") -> None:
        allowed = ["live", "deferred"]
        if processing not in allowed:
            raise ConfigError(
                "no way of processing", node="batch", field="processing", value=processing,
                allowed=allowed,
            )  # fmt: skip
        self.uuid = uuid4().hex
        self.processing: Processing = processing
        self._client = client
        self._acquisitions: list[Acquisition] = []
        self._link: Link | None = None
        self._closed = False

    # ---- commands -----------------------------------------------------------------------------

    def add(self, acquisition: Acquisition) -> Acquisition:
        """Let an acquisition follow those that there are, also when the batch is running.

        Returns
        -------
        Acquisition
            The same.

        Raises
        ------
        StateError
            When it is prepared already, or in a batch, or when this batch has been waited for.
        ConfigError
            When it is an acquisition of another client.
        """
        if self._closed:
            raise StateError("the batch has been waited for, stopped or aborted: make a new one")
        if acquisition in self or acquisition.state != ("idle", "idle"):
            raise StateError(
                f"acquisition {acquisition.uuid} is {'/'.join(acquisition.state)}, or in the batch "
                "already: add one that nothing was done with"
            )
        if not acquisition.belongs_to(self._client):
            raise ConfigError(
                "the acquisition is on another client's cluster", node="batch", field="client",
                value=repr(acquisition), allowed=repr(self._client),
            )  # fmt: skip
        self._acquisitions.append(acquisition)
        if self._link is not None:
            self._queue(self._link, [acquisition])
        return acquisition

    def start(self) -> None:
        """Begin with the first acquisition.

        Raises
        ------
        StateError
            When it is started already, or empty.
        """
        if self._link is not None or not self._acquisitions:
            why = "started already" if self._link is not None else "empty: add an acquisition"
            raise StateError(f"the batch is {why}")
        self._link = Link.of(self._client)
        self._queue(self._link, self._acquisitions)

    def process(self) -> None:
        """Process what is held by now, the oldest acquisition first; those that follow are held.

        Raises
        ------
        StateError
            When processing is not deferred.
        """
        if self.processing != "deferred":
            raise StateError("the batch processes live: process() is for processing='deferred'")
        self._ask("process")

    def stop(self) -> None:
        """End after the frame being exposed; acquisitions that have not begun never will.

        What has come is processed and saved, also what is held. Acquisitions that wait for their
        turn end ``aborted``, with the outcome ``stopped`` and no error. Once is enough; more does
        nothing.
        """
        self._closed = True
        self._ask("stop")

    def abort(self) -> None:
        """End all its acquisitions at once, also those that have not begun."""
        self._closed = True
        self._ask("abort")

    def wait(
        self,
        until: Literal["acquired", "processed"] = "processed",
        timeout: float | None = None,
        told: Callable[[list[dict[str, Any]]], object] | None = None,
    ) -> None:
        """Wait for the last exposure of all (``acquired``), or for their last file (``processed``).

        Waiting for ``processed`` says that no further acquisition will be added: frames that are
        held are processed when the last one is acquired.

        Parameters
        ----------
        until:
            What to wait for.
        timeout:
            Seconds; without it, waiting ends when nothing has moved for the stall timeout.
        told:
            Called, in this thread, with the statistics of all whenever they are looked at.

        Raises
        ------
        AcquisitionFailed
            When all have ended, naming those that failed.
        StalledError
            When it takes too long.
        """
        waiting.check(until)
        link = self._connected()
        if until == "processed" and not self._closed:
            self._closed = True
            self._ask("close")

        def look() -> list[dict[str, Any]]:
            runs = self.statistics()
            if told is not None:
                told(runs)
            return runs

        def patience() -> float:
            return max(one.patience for one in self)

        uuids = [one.uuid for one in self]
        self._raise_failures(waiting.wait(link, uuids, until, timeout, look, patience))

    # ---- what is known ------------------------------------------------------------------------

    def statistics(self) -> list[dict[str, Any]]:
        """Return counts, times and rates of each acquisition so far, as plain data."""
        return list(self._ask()["runs"])

    @property
    def is_over(self) -> bool:
        """Whether all its acquisitions have ended."""
        return self._link is not None and bool(self._ask()["is_over"])

    @overload
    def __getitem__(self, place: int) -> Acquisition: ...

    @overload
    def __getitem__(self, place: slice) -> list[Acquisition]: ...

    def __getitem__(self, place: int | slice) -> Acquisition | list[Acquisition]:
        return self._acquisitions[place]

    def __len__(self) -> int:
        return len(self._acquisitions)

    def __iter__(self) -> Iterator[Acquisition]:
        return iter(self._acquisitions)

    def __repr__(self) -> str:
        states = Counter("/".join(one.state) for one in self)
        told = ", ".join(f"{count} {state}" for state, count in states.items()) or "empty"
        return f"<{type(self).__name__} {self.uuid[:8]} {self.processing}: {told}>"

    # ---- context ------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._link is None or self.is_over:
            return
        self.abort()
        waiting.until_over(self._link, [one.uuid for one in self], self.statistics)

    # ---- details ------------------------------------------------------------------------------

    def _queue(self, link: Link, acquisitions: Sequence[Acquisition]) -> None:
        for one in acquisitions:
            one.create(deferred=self.processing == "deferred")
        uuids = [one.uuid for one in acquisitions]
        link.ask("queue", batch=self.uuid, uuids=uuids, client=self._client.id)

    def _connected(self) -> Link:
        if self._link is None:
            raise StateError("the batch has not begun; allowed: add, start")
        return self._link

    def _ask(self, command: str | None = None) -> dict[str, Any]:
        link = self._connected()
        ask = link.command if command else link.ask
        answer: dict[str, Any] = ask("batch", batch=self.uuid, command=command)
        return answer

    def _raise_failures(self, runs: Sequence[dict[str, Any]]) -> None:
        failed = [
            f"number {number} ({run['uuid']}): {run['error']}"
            for number, run in enumerate(runs)
            if run["error"]
        ]
        if failed:
            raise AcquisitionFailed(
                f"{len(failed)} of {len(runs)} acquisitions failed: {'; '.join(failed)}"
            )
