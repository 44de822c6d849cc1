"""The thread that looks how a series goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable

from limadask_detectors.dectris.readiness import ARMED
from limadask_detectors.dectris.simplon import Simplon, SimplonError

PERIOD = 0.5
"""Seconds between two looks: a control unit has more to do than to answer."""
PATIENCE = 3
"""Looks that may fail one after the other before the detector counts as lost."""
IDLE = "idle"


class Watch(threading.Thread):
    """Asks for the state until the series is over, the detector in error, or lost.

    Parameters
    ----------
    connect:
        Opens a connection.
    begun:
        Whether the series is armed already; else it is over once it has been seen, and is not
        there any more.
    """

    def __init__(self, connect: Callable[[], Simplon], begun: bool) -> None:
        super().__init__(name="limadask-dectris-watch", daemon=True)
        self._connect, self._begun = connect, begun
        self._halt, self._failures = threading.Event(), 0
        self._api: Simplon | None = None
        self._before: object = None
        self.fault, self.is_over = "", False

    def end(self) -> None:
        """Look no more."""
        self._halt.set()
        if self._api is not None:
            self._api.cut()

    def run(self) -> None:
        """Look until there is nothing more to see."""
        try:
            with self._connect() as self._api:
                while not (self.is_over or self.fault or self._halt.wait(PERIOD)):
                    self._try(self._api)
        except Exception as error:  # whatever it is, it is told
            self.fault = f"the control unit is not understood: {error}"

    def _try(self, api: Simplon) -> None:
        try:
            self._look(api)
            self._failures = 0
        except SimplonError as error:
            self._failures += 1
            if self._failures >= PATIENCE and not self._halt.is_set():
                self.fault = f"the control unit does not answer any more: {error}"

    def _look(self, api: Simplon) -> None:
        state = api.state()
        if state == "error":
            errors = api.find("error", kind="status")
            said = errors.value if errors is not None else ""
            self.fault = f"the detector is in state error: {said}"
        elif state == IDLE:
            self.is_over = self._begun or self._has_changed(api)
        elif state in ARMED:
            self._begun = True

    def _has_changed(self, api: Simplon) -> bool:
        """Tell whether a series has come and gone since the last look."""
        told = api.find("series_unique_id", kind="status")
        now = None if told is None else told.value
        before, self._before = self._before, now
        return before is not None and now != before
