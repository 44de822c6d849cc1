"""Stream frames by ZeroMQ, as a DECTRIS detector does."""

from __future__ import annotations

import errno
import logging
import math
import re
import threading
import time
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from limadask.errors import ConfigError, SaveError
from limadask.frames import Codec, Frames, Spec
from limadask.storage import encoder
from limadask.task import Place, Sink
from limadask_tasks.stream2_messages import Chunk, Messages

if TYPE_CHECKING:
    import zmq

logger = logging.getLogger(__name__)
_ADDRESS = re.compile(r"tcp://(.+):(\d+)")
_LAST_PORT = 65535


class StreamZmq(Sink):
    """Send frames to whoever listens, as messages of DECTRIS' stream2 on a ZeroMQ PUSH socket.

    Each worker that processes sends what it has from a socket of its own, at the port of
    ``address`` plus its rank: a series with start, images and end. Several who listen to one socket
    share its messages.
    """

    address: str = "tcp://127.0.0.1:31001"
    """Where the first worker is listened to; ``tcp://*:31001`` is on all networks."""
    compression: Literal["bslz4", "none"] = "bslz4"
    """How frames are compressed; those that the detector has compressed so are sent as they are."""
    queue: PositiveInt = 64
    """Messages that wait for a slow listener on each side."""
    when_slow: Literal["wait", "drop"] = "wait"
    """When nobody listens, or not fast enough: let processing wait, and tell in the ledger of
    frames that could not be sent all the same; or drop frames, and only note it."""
    patience: PositiveFloat = Field(5.0, le=60)
    """Seconds that processing waits once, until somebody listens again; and the end for the last
    messages."""
    vetoed: Literal["skip", "keep"] = "skip"
    """Whether frames that a veto before this node refused are left out, or sent all the same."""

    @field_validator("address")
    def _tcp(cls, value: str) -> str:  # noqa: N805 - pydantic's class method
        found = _ADDRESS.fullmatch(value)
        if found is None or not 0 < int(found[2]) <= _LAST_PORT:
            raise ConfigError(
                "is no address to be listened to",
                value=value,
                allowed="tcp://HOST:PORT, HOST an address of the worker, or * for all it has",
            )
        return value

    @property
    def skips_vetoed(self) -> bool:
        """Whether vetoed frames are left out."""
        return self.vetoed == "skip"

    def address_of(self, rank: int) -> str:
        """Return where a worker is listened to."""
        host, _, port = self.address.rpartition(":")
        return f"{host}:{int(port) + rank}"

    def plan(self, spec: Spec) -> None:
        """Find types of pixels that no image of the stream can have."""
        if spec.dtype.kind not in "iuf" or spec.dtype.name == "float16":
            raise ConfigError(
                "the stream has no pixels of this type",
                field="task",
                value=str(spec.dtype),
                allowed="int8 … int64, uint8 … uint64, float32, float64",
            )

    def open(self, spec: Spec, place: Place) -> ZmqWriter:
        """Begin to listen for who wants frames."""
        try:
            import zmq
        except ImportError as error:
            raise ConfigError(
                "the stream needs a package that is missing: pip install 'limadask[dectris]', on "
                "every worker",
                field="task",
                value="stream_zmq",
                allowed=f"once {error.name or 'pyzmq'} is installed",
            ) from None
        address, context = self.address_of(place.rank), zmq.Context()
        socket = context.socket(zmq.PUSH)
        socket.sndhwm, socket.linger = self.queue, 0
        try:
            socket.bind(address)
        except zmq.ZMQError as error:
            socket.close()
            context.term()
            raise ConfigError(
                f"{address} cannot be taken: {error}",
                field="address",
                value=self.address,
                allowed="an address of the worker, and ports that are free, one a worker",
            ) from error
        messages = Messages(spec, place.uuid, place.about)
        return ZmqWriter(socket, context, messages, self, address)


class Encoded(NamedTuple):
    """Frames ready to be sent: their numbers, and a message for each."""

    numbers: list[int]
    messages: list[bytes]

    @property
    def nbytes(self) -> int:
        """Bytes of all messages."""
        return sum(map(len, self.messages))


class ZmqWriter:
    """What one worker sends: messages are made in its callers' threads, and sent under one lock."""

    def __init__(
        self, socket: zmq.Socket[bytes], context: zmq.Context[Any], messages: Messages,
        task: StreamZmq, address: str,
    ) -> None:  # fmt: skip
        self._socket, self._context, self._messages = socket, context, messages
        self._address, self._when_slow, self._patience = address, task.when_slow, task.patience
        self.codec: Codec = "bshuf_lz4" if task.compression == "bslz4" else "none"
        """Frames that the detector has compressed so are sent as they are."""
        # a message copies what is not compressed: there is no need to do so before
        self._encode = encoder(self.codec) if self.codec != "none" else _bytes
        self._lock = threading.Lock()
        self._has_begun, self._is_closed, self._nb_dropped = False, False, 0
        self._may_wait = task.when_slow == "wait"

    def encode(self, frames: Frames) -> Encoded:
        """Make a message of each frame; this copies it."""
        numbers, stamps = frames.numbers.tolist(), frames.timestamps.tolist()
        made = [
            self._messages.image(number, stamp, chunks, self.codec)
            for number, stamp, chunks in zip(numbers, stamps, self._chunks(frames), strict=True)
        ]
        return Encoded(numbers, made)

    def _chunks(self, frames: Frames) -> list[list[Chunk]]:
        """Return the bands of each frame, compressed."""
        if frames.packed is None:
            return [[self._encode(image) for image in frame] for frame in frames.pixels]
        chunks, bands = frames.packed.chunks(), frames.packed.sizes.shape[1]
        return [list(chunks[at : at + bands]) for at in range(0, len(chunks), bands)]

    def write(self, encoded: list[Encoded]) -> dict[str, Any] | None:
        """Send; return which frames were dropped, if any were.

        Raises
        ------
        SaveError
            When frames could not be sent although processing has waited.
        """
        with self._lock:
            deadline = time.monotonic() + self._patience
            lost = [
                number
                for some in encoded
                for number, message in zip(*some, strict=True)
                if not self._send(message, deadline)
            ]
        if not lost:
            return None
        if self._when_slow == "drop":
            if not self._nb_dropped:
                logger.warning(
                    "%s: nobody listens, or not fast enough: frames are dropped", self._address
                )
            self._nb_dropped += len(lost)
            return {"dropped": lost}
        text = f"nobody has listened, or not fast enough, for {self._patience:g} s"
        failed = SaveError(errno.ETIMEDOUT, text, self._address)
        failed.numbers = tuple(lost)
        raise failed

    def close(self) -> dict[str, Any]:
        """End the series; what waits to be sent has some time for it."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                if not self._has_begun:  # no frame has come this way
                    self._has_begun = self._put(self._messages.start(), 0)
                if self._has_begun:
                    self._put(self._messages.end(), self._patience)
                self._socket.close(linger=math.ceil(self._patience * 1000))
                self._context.term()
                if self._nb_dropped:
                    logger.warning("%s: %d frames were dropped", self._address, self._nb_dropped)
        return {}

    def _send(self, message: bytes, deadline: float) -> bool:
        """Send an image, the start of the series before the first; tell whether it was taken.

        Once processing has waited in vain it waits no more, until somebody takes messages again.
        """
        if self._is_closed:
            return False
        left = max(0.0, deadline - time.monotonic()) if self._may_wait else 0.0
        if not self._has_begun:
            self._has_begun = self._put(self._messages.start(), left)
        is_sent = self._has_begun and self._put(message, left)
        self._may_wait = self._when_slow == "wait" and is_sent
        return is_sent

    def _put(self, message: bytes, patience: float) -> bool:
        """Hand a message to ZeroMQ, which keeps it until it is sent."""
        import zmq

        if patience:
            self._socket.poll(math.ceil(patience * 1000), zmq.POLLOUT)
        try:
            self._socket.send(message, zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return False
        return True


def _bytes(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the memory of an image."""
    return np.ascontiguousarray(image).reshape(-1).view(np.uint8)
