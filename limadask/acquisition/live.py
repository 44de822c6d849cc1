"""A table of what the workers use, that renews itself."""

from __future__ import annotations

import asyncio
import threading
import time
from types import TracebackType
from typing import Any, Self

import xarray as xr
from distributed import Client

from limadask.acquisition.resources import resources
from limadask.errors import ConfigError, LimadaskError
from limadask.monitoring.rows import as_text
from limadask.views import resources_html


class LiveResources:
    """What each worker uses: a table that renews itself in a notebook, until :meth:`stop`.

    It ends by itself after ``seconds``, or when the cluster cannot be asked any more; the last
    table stays. Leaving it as a context stops it.

    Parameters
    ----------
    client:
        Client of any Dask cluster.
    every:
        Seconds between two tables.
    seconds:
        Seconds after which it ends.

    Raises
    ------
    ConfigError
        When ``every`` is shorter than 0.1 s.
    LimadaskError
        When the scheduler cannot be reached.
    """

    def __init__(self, client: Client, every: float = 1.0, seconds: float = 3600.0) -> None:
        if not every >= SHORTEST:
            raise ConfigError(
                "is too short: asking has its cost", node="live", field="every", value=every,
                allowed=f"{SHORTEST} s or more",
            )  # fmt: skip
        self._client, self._every, self._until = client, every, time.monotonic() + seconds
        self._renewed, self._count = threading.Condition(), 0
        self._stopped = threading.Event()
        self._handles: list[Any] = []
        self.latest = resources(client)
        """The last table; see :func:`limadask.resources`."""
        self.note = ""
        """Why it has ended, empty while it goes on."""
        self._thread = threading.Thread(target=self._work, name="limadask-live", daemon=True)
        self._thread.start()

    def next(self, timeout: float = 10.0) -> xr.Dataset | None:
        """Wait for the next table and return it; None when there is none in time, or any more."""
        with self._renewed:
            seen = self._count
            self._renewed.wait_for(lambda: self._count > seen or bool(self.note), timeout)
            return self.latest if self._count > seen else None

    def stop(self) -> None:
        """End; the last table stays."""
        self._stopped.set()
        self._thread.join(JOIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return as_text(self.latest) + (f"\n{self.note}" if self.note else "")

    def _repr_html_(self) -> str:
        return resources_html(self.latest, self.note)

    def _ipython_display_(self) -> None:
        """Show the table at this place, and renew it there."""
        from IPython.display import display

        self._handles.append(display(_Shown(repr(self), self._repr_html_()), display_id=True))

    def _work(self) -> None:
        note = ""
        while not note:
            if self._stopped.wait(self._every):
                note = "stopped"
            elif time.monotonic() > self._until:
                note = "ended: its time is over"
            else:
                note = self._renew()
            self._show(note)

    def _renew(self) -> str:
        """Ask for a new table; return why there is none."""
        try:
            self.latest = resources(self._client)
        except LimadaskError as error:
            return f"ended: {error}"
        except (Exception, asyncio.CancelledError) as error:  # of a client that closes just now
            return f"ended: {type(error).__name__}: {error}"
        return ""

    def _show(self, note: str) -> None:
        with self._renewed:
            self.note = note
            self._count += not note
            self._renewed.notify_all()
        for handle in list(self._handles):
            handle.update(_Shown(repr(self), self._repr_html_()))


SHORTEST = 0.1
"""Seconds between two tables at least."""
JOIN = 20.0
"""Seconds that asking for the last table may take."""


class _Shown:
    """A table as it is at one moment."""

    def __init__(self, text: str, page: str) -> None:
        self._text, self._page = text, page

    def __repr__(self) -> str:
        return self._text

    def _repr_html_(self) -> str:
        return self._page
