"""The connection to a stream of a detector."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from limadask.errors import ConfigError
from limadask_detectors.dectris.message import Part

if TYPE_CHECKING:
    import zmq

ALONE, SHARED = 32, 4
"""Messages that wait here; few where another receiver with room could have them."""
RETRY = 100
"""Milliseconds from one attempt to connect to the next."""
IDLE, PROBE, PROBES = 10, 5, 3
"""Seconds until a silent connection is probed, from one probe to the next; and how many fail."""
Parts = list[Part]
"""A message; what it is made of lives as long as a part of it does."""


class Connection:
    """A ZeroMQ PULL socket. It connects, and connects again, by itself.

    One thread at a time may use it.

    Parameters
    ----------
    address:
        Where the detector sends: ``tcp://host:port``.
    capacity:
        Messages that may wait.

    Raises
    ------
    ConfigError
        When pyzmq is not installed, or no address is given.
    """

    def __init__(self, address: str, capacity: int) -> None:
        try:
            import zmq
        except ImportError as error:
            raise ConfigError(
                "the streams of a DECTRIS detector need pyzmq: install limadask[dectris]"
            ) from error
        self._waits_for: type[Exception] = zmq.Again
        self._patience = -1
        self._context = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.PULL)
        try:
            self._connect(address, capacity)
        except zmq.ZMQError as error:
            self.close()
            raise ConfigError(
                f"there is no stream at {address}: {error}; give the host and the port of the "
                "detector control unit"
            ) from error

    def _connect(self, address: str, capacity: int) -> None:
        socket = self._socket
        socket.linger, socket.rcvhwm, socket.reconnect_ivl = 0, capacity, RETRY
        # a detector that lost its power says no farewell
        socket.tcp_keepalive, socket.tcp_keepalive_idle = 1, IDLE
        socket.tcp_keepalive_intvl, socket.tcp_keepalive_cnt = PROBE, PROBES
        socket.connect(address)

    def receive(self, timeout: float) -> Parts | None:
        """Return the next message, None when there is none within ``timeout`` s."""
        patience = math.ceil(timeout * 1000)
        if patience != self._patience:
            self._socket.rcvtimeo = self._patience = patience
        try:
            frame = self._socket.recv(copy=False)
        except self._waits_for:
            return None
        parts: Parts = [frame.buffer]
        while frame.more:  # a message comes as a whole: the rest is there
            frame = self._socket.recv(copy=False)
            parts.append(frame.buffer)
        return parts

    def close(self) -> None:
        """Close it, with what waits in it."""
        self._socket.close()
        self._context.term()
