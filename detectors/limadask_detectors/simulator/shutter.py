"""Where a simulated receiver learns which frame comes next."""

from __future__ import annotations

import secrets
import socket
import threading
import time
from multiprocessing.connection import Connection
from typing import Protocol

from limadask.detector import Deal, End, Lost
from limadask.errors import StalledError
from limadask.parameters import HardwareParameters
from limadask_detectors.simulator.clock import Clock
from limadask_detectors.simulator.faults import Faults

FIFO = 4
"""Frames that a camera in real time keeps while nobody takes them."""
CONNECT = 10.0
"""Seconds that the camera, or a stranger, may take to connect and to say who it is."""
Coming = tuple[int, int]
"""A frame, and when its exposure began, UTC nanoseconds."""


class Shutter(Protocol):
    """Tells which frame comes next."""

    def next(self, timeout: float) -> Coming | Lost | End | None:
        """Return the next frame when its exposure is over, None if it is not."""

    def start(self) -> None:
        """Begin the first exposure."""

    def trigger(self) -> None:
        """Expose some frames more."""

    def pause(self) -> None:
        """Begin no exposure for a while."""

    def resume(self) -> None:
        """Go on."""

    def stop(self) -> None:
        """Expose no further frame."""

    def give(self, count: int) -> None:
        """Say that there is room for some frames more."""

    def close(self) -> None:
        """Close what is open."""


class OwnShutter:
    """Every receiver knows by the clock which frame comes when, and takes its own.

    Parameters
    ----------
    hardware:
        Times and triggers.
    faults:
        Which exposures are late, and when the camera dies.
    realtime:
        Whether frames are lost when nobody takes them in time.
    deal:
        Which frames fall to the receiver.
    """

    def __init__(
        self, hardware: HardwareParameters, faults: Faults, realtime: bool, deal: Deal
    ) -> None:
        self._clock, self._hardware = Clock(hardware, faults), hardware
        self._faults, self._realtime, self._deal = faults, realtime, deal
        self._never = threading.Event()
        self.start, self.trigger = self._clock.start, self._clock.trigger
        self.pause, self.resume = self._clock.pause, self._clock.resume
        self.stop = self._clock.stop

    def next(self, timeout: float) -> Coming | Lost | End | None:
        """Return the next frame of this receiver when its exposure is over."""
        clock = self._clock
        if is_dead(self._faults, clock):
            self._never.wait(timeout)
            return None
        while not clock.is_over and not self._deal.wants(clock.following):
            if not clock.is_triggered(timeout):
                return None
            clock.advance()
        if clock.is_over:
            return End()
        if not clock.is_triggered(timeout) or not clock.is_exposed(timeout):
            return End() if clock.is_over else None
        if self._realtime and (lost := overrun(clock, self._hardware)):
            return lost
        number = clock.advance()
        return number, clock.stamp(number)

    def give(self, count: int) -> None:
        """Take no notice of room: frames come by the clock."""

    def close(self) -> None:
        """Close nothing."""


class DealtShutter:
    """Is told frame by frame by the camera, as long as it has room.

    Parameters
    ----------
    host:
        Where to listen.
    """

    def __init__(self, host: str) -> None:
        self._key = secrets.token_bytes(16)
        self._listener = socket.create_server((host, 0))
        self._camera: Connection | None = None
        self._ended = threading.Event()

    @property
    def address(self) -> str:
        """What the camera must know to be let in."""
        host, port = self._listener.getsockname()
        return f"{self._key.hex()}@{host}:{port}"

    def start(self) -> None:
        """Let the camera in, which has connected at prepare, and nobody else."""
        deadline = time.monotonic() + CONNECT
        while self._camera is None:
            came = self._accept(deadline)
            if _says(came, self._key, deadline):
                came.settimeout(None)
                self._camera = Connection(came.detach())
            else:
                came.close()

    def _accept(self, deadline: float) -> socket.socket:
        """Return who comes next."""
        try:
            self._listener.settimeout(_left(deadline))
            return self._listener.accept()[0]
        except TimeoutError as error:
            place = self.address.partition("@")[2]
            raise StalledError(
                "start", -1,
                f"the simulated camera has not connected to the receiver at {place} within "
                f"{CONNECT:.0f} s; check that the worker of the first receiver can reach it",
            ) from error  # fmt: skip

    def next(self, timeout: float) -> Coming | Lost | End | None:
        """Return the next frame that the camera deals to this receiver."""
        if self._camera is None:
            return End()
        is_over = self._ended.is_set()
        try:
            told: Coming | Lost | End | None = End() if is_over else None
            if self._camera.poll(0 if is_over else timeout):  # what was dealt is taken all the same
                told = self._camera.recv()
        except (OSError, EOFError):  # the camera is gone
            return End()
        return told

    def trigger(self) -> None:
        """Take no notice: the camera is triggered where it is controlled."""

    def pause(self) -> None:
        """Take no notice: the camera is paused where it is controlled."""

    def resume(self) -> None:
        """Take no notice."""

    def stop(self) -> None:
        """Take no further frame than those that are on their way."""
        self._ended.set()

    def give(self, count: int) -> None:
        """Tell the camera that there is room for some frames more."""
        if self._camera is not None and count:
            try:
                self._camera.send(count)
            except OSError:  # the camera is gone, as will be seen next
                return

    def close(self) -> None:
        """Close the connection."""
        if self._camera is not None:
            self._camera.close()
        self._listener.close()


def _left(deadline: float) -> float:
    """Return the seconds that are left; never 0, which would mean not to wait at all."""
    return max(0.001, deadline - time.monotonic())


def _says(came: socket.socket, key: bytes, deadline: float) -> bool:
    """Tell whether somebody who came has the key; who does not say it in time has not."""
    said = b""
    try:
        while len(said) < len(key):
            came.settimeout(_left(deadline))
            if not (more := came.recv(len(key) - len(said))):
                return False
            said += more
    except OSError:  # TimeoutError is one
        return False
    return secrets.compare_digest(said, key)


def connect(address: str) -> Connection:
    """Connect the camera to a receiver."""
    key, _, place = address.partition("@")
    host, _, port = place.rpartition(":")
    receiver = socket.create_connection((host, int(port)), CONNECT)
    receiver.sendall(bytes.fromhex(key))
    receiver.settimeout(None)
    return Connection(receiver.detach())


def is_dead(faults: Faults, clock: Clock) -> bool:
    """Tell whether nothing comes any more, not even an end."""
    return faults.die is not None and clock.following >= faults.die


def overrun(clock: Clock, hardware: HardwareParameters) -> Lost | None:
    """Lose the frames that nobody took in time."""
    late = clock.late
    if not hardware.period or late <= FIFO * hardware.period:
        return None
    count = int(late / hardware.period)
    if hardware.nb_frames:
        count = min(count, hardware.nb_frames - clock.following)
    first = clock.advance(count)
    return Lost(first, first + count - 1, "overrun")
