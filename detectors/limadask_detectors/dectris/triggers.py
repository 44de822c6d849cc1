"""The thread that gives a detector its triggers."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from limadask_detectors.dectris.readiness import ARMED
from limadask_detectors.dectris.simplon import Simplon


class Triggers(threading.Thread):
    """Gives triggers one after the other: the control unit answers when their images are done.

    Parameters
    ----------
    connect:
        Opens a connection whose answers may take as long as the images of a trigger.
    count:
        Triggers of the series.
    """

    def __init__(self, connect: Callable[[], Simplon], count: int) -> None:
        super().__init__(name="limadask-dectris-triggers", daemon=True)
        self._connect, self._count = connect, count
        self._asked: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._lock, self._has_ended = threading.Lock(), False
        self._under_way: Simplon | None = None
        self.fault, self.is_over = "", False

    def give(self) -> None:
        """Give one trigger more, once those before are done."""
        self._asked.put(True)

    def end(self) -> None:
        """Give no further trigger, and wait no longer for the one under way."""
        with self._lock:
            self._has_ended = True
            if self._under_way is not None:
                self._under_way.cut()
        self._asked.put(False)

    def run(self) -> None:
        """Give what is asked for, until the series is complete or the first failure."""
        try:
            for _ in range(self._count):
                if not self._asked.get():
                    return
                self._send(lambda api: api.command("trigger"))
            self._send(_finish)
            self.is_over = not self._has_ended
        except Exception as error:  # whatever it is, it is told
            if not self._has_ended:
                self.fault = f"a trigger failed: {error}"

    def _send(self, send: Callable[[Simplon], object]) -> None:
        """Use a connection of its own: one kept since the last trigger may have been dropped."""
        with self._connect() as api:
            with self._lock:
                self._under_way = api
                if self._has_ended:
                    api.cut()
            try:
                send(api)
            finally:
                with self._lock:
                    self._under_way = None


def _finish(api: Simplon) -> None:
    """Have the end of the series sent, if the detector has not sent it by itself.

    Nothing is aborted: the last images may still be on their way.
    """
    if api.state() in ARMED:
        api.command("disarm")
