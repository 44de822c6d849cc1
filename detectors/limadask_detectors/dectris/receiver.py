"""Receivers of DECTRIS detectors: images as the detector has compressed them."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Literal

from limadask.detector import End, Frame, Lost, Receiver
from limadask.errors import ConfigError
from limadask.parameters import HardwareParameters
from limadask_detectors.dectris import stream1
from limadask_detectors.dectris.alike import Alike
from limadask_detectors.dectris.chosen_series import ChosenSeries
from limadask_detectors.dectris.connection import ALONE, SHARED, Connection, Parts
from limadask_detectors.dectris.format import Format
from limadask_detectors.dectris.handover import Handover
from limadask_detectors.dectris.message import Message, Stream, UnsupportedError

GLANCE = 0.05
"""Seconds after which a receiver that waits looks whether it was stopped."""
QUIET = 0.1
"""Seconds, and the time of a frame, for which nothing comes once the detector has stopped."""
STREAMS: Mapping[str, Callable[[], Stream]] = {"v1": lambda: stream1, "stream2": Alike}
"""What reads the messages of each."""
logger = logging.getLogger(__name__)


class DectrisReceiver(Receiver):
    """Takes the images of one series that the detector deals to this receiver.

    Parameters
    ----------
    stream:
        The format of the messages.
    address:
        Where the detector sends: ``tcp://host:port``.
    index, count:
        Which receiver it is, of how many.
    passive:
        Whether others arm the detector: the next series is taken, whichever it is.

    Raises
    ------
    ConfigError
        When several are to be passive: they could not agree on a series.
    """

    def __init__(
        self,
        stream: Literal["v1", "stream2"],
        address: str,
        index: int,
        count: int,
        passive: bool = False,
    ) -> None:
        super().__init__()
        self.packs = True
        if passive and count > 1:
            raise ConfigError(
                "several receivers cannot agree on the series that somebody else arms: "
                "in passive mode, use one", field="receivers", value=count, allowed=1,
            )  # fmt: skip
        self._stream, self._address, self._count = STREAMS[stream](), address, count
        self._passive = passive
        self._series = ChosenSeries(None)
        self._connection: Connection | None = None
        self._handover: Handover | None = None
        self._messages: deque[Parts] = deque()
        self._receive: Callable[[float], Parts | None] = _nothing
        self._over = self._aborted = self._fits = False
        self._until, self._pause = math.inf, QUIET
        self._announced = self._next = 0
        self.dropped, self.unreadable = 0, 0
        """Messages of other series, and such that cannot be read."""

    def open(self) -> str:
        """Connect to the detector, which need not be there yet."""
        if self._passive:
            self._handover = Handover.at(self._address)
            self._receive = self._handover.receive
        else:
            self._connection = Connection(self._address, SHARED if self._count > 1 else ALONE)
            self._receive = self._connection.receive
        return ""

    def arm(self, hardware: HardwareParameters) -> None:
        """Make ready for a series; one without a name is the first that is seen."""
        self._over = self._aborted = self._fits = False
        self._until, self._announced, self._next = math.inf, 0, 0
        before = self._handover.series if self._handover is not None else None
        number = int(hardware.series) if hardware.series else None
        self._series = ChosenSeries(number, self._passive, before)
        self._format = Format.of(hardware)
        self._pause = hardware.period + QUIET

    def take(self, timeout: float) -> Frame | Lost | End | None:
        """Return the next image."""
        deadline = time.monotonic() + timeout
        while not self._is_over():
            left = max(0.0, deadline - time.monotonic())
            item = self._next_item(min(left, GLANCE))
            if item is not None:
                return item
            if time.monotonic() >= deadline:
                return None
        return End()

    def stop(self, abort: bool) -> None:
        """End when nothing comes any more, or at once."""
        if abort or self._passive:  # what others have armed goes on
            self._aborted = True
        else:
            self._until = time.monotonic() + self._pause

    def close(self) -> None:
        """Close the connection, unless the next receiver has it already."""
        connection, self._connection = self._connection, None
        handover, self._handover = self._handover, None
        self._receive = _nothing
        if connection is not None:
            connection.close()
        while handover is not None and self._messages:  # they are of the next series
            handover.put_back(self._messages.pop())
        if handover is not None:
            handover.leave(self._series.number)

    def _is_over(self) -> bool:
        return self._over or self._aborted or time.monotonic() > self._until

    def _next_item(self, timeout: float) -> Frame | Lost | End | None:
        """Return what the next message holds, if one comes."""
        if not self._messages and (parts := self._receive(timeout)) is not None:
            self._messages.extend(self._stream.split(parts))
        return self._read(self._messages.popleft()) if self._messages else None

    def _read(self, parts: Parts) -> Frame | Lost | End | None:
        try:
            message = self._stream.identify(parts)
        except ValueError as error:
            self._note("a message", error)
            return None
        place = self._series.place(message)
        if place == "before":
            if not self.dropped:
                logger.info("messages of series %s are dropped: it is over", message.series)
            self.dropped += 1
            return None
        if place == "after" or message.kind == "end":
            if place == "after":
                self._messages.appendleft(parts)
            return self._end()
        if message.kind == "start":
            self._announced = self._stream.announced(message)
        if self._until != math.inf:
            self._until = time.monotonic() + self._pause
        return self._frame(message) if message.kind == "image" else None

    def _end(self) -> Lost | End:
        """End; tell first of the last images, where nobody else knows how many were to come."""
        self._over = True
        if self._passive and self._next < self._announced:
            return Lost(self._next, self._announced - 1, "detector")
        return End()

    def _frame(self, message: Message) -> Frame | Lost:
        """Return an image; what has gone wrong with one is no reason to lose the next."""
        self._next = max(self._next, message.number + 1)
        try:
            image = self._stream.image(message)
            codec, chunks = self._format.chunks(image)
        except UnsupportedError as error:
            if not self._fits:
                raise self._unexpected(message, error) from error
            return self._lost(message, error)
        except ValueError as error:
            return self._lost(message, error)
        self._fits = True
        return Frame(
            message.number, release=chunks.clear, timestamp=image.timestamp, chunks=chunks,
            codec=codec, is_owned=True, values=image.times,
        )  # fmt: skip

    def _lost(self, message: Message, error: ValueError) -> Lost:
        self._note(f"image {message.number} of series {message.series}", error)
        return Lost(message.number, message.number, "decode_error")

    def _note(self, what: str, error: ValueError) -> None:
        if not self.unreadable:
            logger.warning("%s from %s cannot be read: %s", what, self._address, error)
        self.unreadable += 1

    def _unexpected(self, message: Message, error: ValueError) -> UnsupportedError:
        return UnsupportedError(
            f"series {message.series} has {error}, and {self._format} were armed; check that "
            "nobody else has configured the detector since, and what its firmware sends"
        )


def _nothing(timeout: float) -> None:
    """Receive nothing: the receiver is not open."""
