"""What a detector sends its images through, with faults on demand."""

from __future__ import annotations

import struct
import threading
from dataclasses import replace
from typing import Literal

import numpy as np
import zmq

from limadask_benchmarks.receive.images import Images
from limadask_benchmarks.receive.order import Order
from limadask_benchmarks.receive.sender import messages

LOOK = 20
"""Milliseconds after which who waits for a receiver looks whether it is still to be sent to."""
HEADER, FLIPPED = 12, 64
"""Bytes that a payload has before its first block, and that are damaged then."""
CAPACITY = 16
"""Messages that wait for each receiver."""


class ImageStream:
    """A PUSH socket of a detector. One thread at a time may use it.

    Unlike the sender of the benchmarks it gives up at once: a detector that is aborted, or whose
    receivers have gone, does not wait for them.

    Parameters
    ----------
    kind, images:
        What it sends.
    """

    def __init__(self, kind: Literal["v1", "stream2"], images: Images) -> None:
        self.kind: Literal["v1", "stream2"] = kind
        self.images = images
        self.port = 0
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._socket: zmq.Socket[bytes] | None = None
        self.show(images.bands)

    def show(self, bands: tuple[str, ...]) -> None:
        """Send images with these bands from now on."""
        rows, columns = self.images.shape
        self.images = replace(self.images, bands=bands)
        larger = replace(self.images, shape=(rows + 8, columns), distinct=1)
        self._messages, self._others = messages(self.kind, self.images), messages(self.kind, larger)

    def open(self) -> None:
        """Listen, after :meth:`cut` at the same port as before."""
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PUSH)
        self._socket.linger, self._socket.sndhwm = 0, CAPACITY
        self._socket.bind(f"tcp://127.0.0.1:{self.port or '*'}")
        self.port = int(str(self._socket.get_string(zmq.LAST_ENDPOINT)).rpartition(":")[2])

    def send(
        self, order: Order, number: int, halted: threading.Event, is_damaged: bool = False
    ) -> bool:
        """Send an image, with what is wrong with it; return whether somebody took it."""
        source = self._others if number in order.misshape else self._messages
        parts = source.image(order.series, number)
        if number in order.corrupt:
            parts = [self._corrupted(one) for one in parts]
        if is_damaged:
            parts = [self._damaged(one) for one in parts]
        return self._push(parts, halted)

    def begin(self, order: Order, halted: threading.Event) -> bool:
        """Say that a series begins; return whether somebody took it."""
        return self._push(self._messages.start(order.series, order.frames), halted)

    def end(self, order: Order, halted: threading.Event) -> bool:
        """Say that a series has ended; return whether somebody took it."""
        return self._push(self._messages.end(order.series), halted)

    def cut(self) -> None:
        """Hang up, with what waits; nothing is sent any more."""
        if self._socket is not None and self._context is not None:
            self._socket.close()
            self._context.term()  # else its port would be free only some time later
            self._socket = self._context = None

    def _push(self, parts: list[bytes | bytearray], halted: threading.Event) -> bool:
        """Send as soon as somebody takes it, or not at all."""
        while self._socket is not None:
            if self._socket.poll(LOOK, zmq.POLLOUT):
                self._socket.send_multipart(parts)
                return True
            if halted.is_set():
                break
        return False

    def _corrupted(self, part: bytes | bytearray) -> bytes:
        """Return a part whose payload tells of more pixels than there are."""
        header = struct.pack(">Q", self._nbytes)
        return bytes(part).replace(header, b"\1" + header[1:], 1)

    def _damaged(self, part: bytes | bytearray) -> bytes:
        """Return a part in whose payload bits have flipped, which only shows when it is decoded."""
        begin = bytes(part).find(struct.pack(">Q", self._nbytes))
        first = begin + HEADER
        body = bytes(255 - one for one in part[first : first + FLIPPED])
        return bytes(part) if begin < 0 else bytes(part[:first]) + body + part[first + FLIPPED :]

    @property
    def _nbytes(self) -> int:
        rows, columns = self.images.shape
        return rows * columns * np.dtype(self.images.dtype).itemsize
