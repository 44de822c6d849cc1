"""A detector's stream without a detector: sends series that were encoded before, at a fixed rate.

    python -m limadask_benchmarks.receive.sender '{"stream": "stream2", "images": {"mean": 0.3}}'

prints its port. Each line that it then reads is an :class:`Order`, as JSON; it sends that series
and prints what it sent. It ends with its input.
"""

from __future__ import annotations

import json
import struct
import sys
import time
from dataclasses import asdict, replace
from typing import Any, Literal

import numpy as np
import zmq
from zmq.utils.monitor import recv_monitor_message

from limadask_benchmarks.receive.images import Images
from limadask_benchmarks.receive.messages import Messages, Parts
from limadask_benchmarks.receive.order import Order, Sent
from limadask_benchmarks.receive.stream1 import Stream1
from limadask_benchmarks.receive.stream2 import Stream2

COPIED = 1 << 18
"""Bytes up to which it costs less to copy a message than to lend it."""
PATIENCE = 30_000
"""Milliseconds that receivers may take to connect, and to take a message."""
PAUSE = 5
"""Milliseconds between two attempts."""
AHEAD = 0.001
"""Seconds for which it is not worth to sleep."""


class Sender:
    """A PUSH socket, and what goes through it.

    Parameters
    ----------
    stream, images:
        What it sends.
    port:
        Where it listens; 0 takes a free one.
    capacity:
        Messages that wait for each receiver; of large ones no more than distinct images.
    """

    def __init__(
        self,
        stream: Literal["v1", "stream2"] = "stream2",
        images: Images | None = None,
        port: int = 0,
        capacity: int = 16,
    ) -> None:
        self.images = images = images or Images()
        rows, columns = images.shape
        other = replace(images, shape=(rows + 8, columns), distinct=1)
        self._messages, self._others = messages(stream, images), messages(stream, other)
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PUSH)
        self._socket.linger, self._socket.sndhwm = 0, capacity
        self._socket.sndtimeo = PATIENCE
        self._monitor = self._socket.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
        )
        self._peers = 0
        self._lent: dict[int, zmq.MessageTracker] = {}
        self._socket.bind(f"tcp://127.0.0.1:{port or '*'}")
        self.address = str(self._socket.get_string(zmq.LAST_ENDPOINT))

    def send(self, order: Order) -> Sent:
        """Send a series."""
        self.wait_for(order.peers)
        sent = Sent()
        if order.start:
            self._socket.send_multipart(self._messages.start(order.series, order.frames))
        began, spent = time.perf_counter(), time.process_time()
        for place, number in enumerate(order.numbers()):
            if order.rate:
                _sleep_until(began + place / order.rate)
            self._send_image(order, number, sent)
        sent.seconds = time.perf_counter() - began
        sent.cpu = time.process_time() - spent
        if order.end:
            self._send_end(order.series)
        return sent

    def image(self, order: Order, number: int) -> Parts:
        """Return the message of an image, with what is wrong with it."""
        source = self._others if number in order.misshape else self._messages
        parts = source.image(order.series, number)
        return [self._corrupt(one) for one in parts] if number in order.corrupt else parts

    def _corrupt(self, part: bytes | bytearray) -> bytearray:
        """Return a part whose payload tells of more pixels than there are."""
        rows, columns = self.images.shape
        header = struct.pack(">Q", rows * columns * np.dtype(self.images.dtype).itemsize)
        return bytearray(part.replace(header, b"\1" + header[1:], 1))

    def wait_for(self, peers: int) -> None:
        """Wait until just so many receivers are connected; TimeoutError if not in time.

        Who comes after others must wait until those have gone: what is sent to them is lost.
        """
        self._look(0)
        while self._peers != peers:
            if not self._look(PATIENCE):
                raise TimeoutError(f"{self._peers} of {peers} receivers have connected")

    def send_parts(self, parts: Parts) -> None:
        """Send any message."""
        self._socket.send_multipart(parts)

    def close(self) -> None:
        """Close the socket, with what waits in it."""
        self._socket.disable_monitor()
        self._monitor.close()
        self._socket.close()
        self._context.term()

    def _look(self, patience: int) -> bool:
        """Count receivers as they come and go; tell whether any has, in so many milliseconds."""
        has_changed = False
        while self._monitor.poll(0 if has_changed else patience):
            event = recv_monitor_message(self._monitor)["event"]
            self._peers += 1 if event == zmq.EVENT_HANDSHAKE_SUCCEEDED else -1
            has_changed = True
        return has_changed

    def _send_end(self, series: int) -> None:
        """Send the last message, unless those who have seen enough are gone."""
        while self._peers or self._look(0):
            try:
                self._socket.send_multipart(self._messages.end(series), zmq.NOBLOCK)
                return
            except zmq.Again:
                self._look(PAUSE)

    def _send_image(self, order: Order, number: int, sent: Sent) -> None:
        place = number % self.images.distinct
        if place in self._lent:  # its number is written anew
            if order.drops and not self._lent[place].done:
                sent.dropped += 1
                return
            self._lent.pop(place).wait()
        parts = self.image(order, number)
        nbytes = sum(map(len, parts))
        flags = zmq.NOBLOCK if order.drops else 0
        try:
            if nbytes > COPIED:
                tracker = self._socket.send_multipart(parts, flags, copy=False, track=True)
                assert tracker is not None  # noqa: S101 - it was asked for
                self._lent[place] = tracker
            else:
                self._socket.send_multipart(parts, flags)
        except zmq.Again:
            sent.dropped += 1
            return
        sent.frames += 1
        sent.nbytes += nbytes


def messages(stream: Literal["v1", "stream2"], images: Images) -> Messages:
    """Return the messages of a stream."""
    return Stream1(images) if stream == "v1" else Stream2(images)


def _sleep_until(moment: float) -> None:
    left = moment - time.perf_counter()
    if left > AHEAD:
        time.sleep(left)


def main(asked: str) -> None:
    """Send what is ordered, line by line."""
    fields: dict[str, Any] = json.loads(asked)
    sender = Sender(images=Images.of(**fields.pop("images", {})), **fields)
    try:
        print(sender.address, flush=True)
        for line in sys.stdin:
            print(json.dumps(asdict(sender.send(Order(**json.loads(line))))), flush=True)
    finally:
        sender.close()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "{}")
