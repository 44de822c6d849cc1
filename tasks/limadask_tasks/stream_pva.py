"""Show frames on the EPICS network, as areaDetector does."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, PositiveInt

from limadask.errors import ConfigError
from limadask.frames import NEVER, Frames, Spec, Status
from limadask.storage import encoder
from limadask.task import Place, Sink

if TYPE_CHECKING:
    from numpy.typing import NDArray

_UNION = {
    "int8": "byteValue", "int16": "shortValue", "int32": "intValue", "int64": "longValue",
    "uint8": "ubyteValue", "uint16": "ushortValue", "uint32": "uintValue", "uint64": "ulongValue",
    "float32": "floatValue", "float64": "doubleValue",
}  # fmt: skip
"""Types of pixels, and the members of the union that hold them."""
_SCALARS = {name: number for number, name in enumerate(_UNION, start=1)}
"""What the codec's parameter calls them: pvData's ScalarType."""
_HEADER = 12
"""Bytes in front of a chunk of HDF5 that areaDetector leaves out."""


class StreamPva(Sink):
    """Publish frames as an NTNDArray by PVAccess, for viewers and whatever else monitors it.

    A viewer that is slower gets the newest frames; nobody is waited for, and what viewers miss is
    no loss. The channel is there from ``prepare`` to the end of the run. Networks are those of the
    environment variables ``EPICS_PVAS_…`` of each worker.
    """

    pv: str = Field(min_length=1)
    """Name of the channel; where several workers process, each has its own: ``{pv}:{rank}``."""
    compression: Literal["none", "bslz4"] = "none"
    """How frames are compressed."""
    every: PositiveInt = 1
    """Publish only the frames whose number is a multiple of this."""

    def name_of(self, place: Place) -> str:
        """Return the name of a worker's channel."""
        return self.pv if place.ranks == 1 else f"{self.pv}:{place.rank}"

    def plan(self, spec: Spec) -> None:
        """Find types of pixels that no NTNDArray can have."""
        if spec.dtype.name not in _UNION:
            raise ConfigError(
                "an NTNDArray has no pixels of this type",
                field="task",
                value=str(spec.dtype),
                allowed=", ".join(_UNION),
            )

    def open(self, spec: Spec, place: Place) -> PvaWriter:
        """Offer the channel."""
        try:
            from p4p.nt import NTNDArray
            from p4p.server import Server
            from p4p.server.thread import SharedPV
        except ImportError as error:
            raise ConfigError(
                "PVAccess needs a package that is missing: pip install 'limadask[pva]', on every "
                "worker",
                field="task",
                value="stream_pva",
                allowed=f"once {error.name or 'p4p'} is installed",
            ) from None
        images = Images(NTNDArray.buildType(), spec, self.compression)
        channel = SharedPV(initial=images.blank())
        try:
            server = Server(providers=[{self.name_of(place): channel}])
        except RuntimeError as error:
            raise ConfigError(
                f"there can be no PVAccess server: {error}",
                field="pv",
                value=self.pv,
                allowed="networks, by EPICS_PVAS_INTF_ADDR_LIST, that this worker has",
            ) from error
        return PvaWriter(server, channel, images, self.every)


class Images:
    """Makes values of the type NTNDArray.

    Parameters
    ----------
    kind:
        The type.
    spec:
        The frames.
    compression:
        How they are compressed.
    """

    def __init__(self, kind: Any, spec: Spec, compression: str) -> None:
        self._kind, self._spec = kind, spec
        self._encode = encoder("bshuf_lz4") if compression == "bslz4" else None
        bands, rows, columns = spec.frame_shape
        # the fastest first, as areaDetector counts
        sizes = [columns, rows, bands] if bands > 1 else [columns, rows]
        self._dimension = [
            {"size": size, "offset": 0, "fullSize": size, "binning": 1, "reverse": False}
            for size in sizes
        ]

    def blank(self) -> Any:
        """Return a value without an image."""
        from p4p import Value

        return Value(self._kind, {})

    def value(self, number: int, stamp: int, status: int, pixels: NDArray[Any]) -> Any:
        """Return a frame; its pixels are copied."""
        from p4p import Value

        name, nbytes, compressed = self._spec.dtype.name, pixels.nbytes, pixels.nbytes
        fields: dict[str, Any] = {}
        if self._encode is None:
            fields["value"] = _UNION[name], np.array(pixels).ravel()
        else:
            chunk = np.frombuffer(bytes(self._encode(pixels)), np.uint8)[_HEADER:]
            fields["value"], compressed = ("ubyteValue", chunk), len(chunk)
            fields["codec"] = {"name": "bslz4", "parameters": _SCALARS[name]}
        seconds, nanoseconds = divmod(max(stamp, 0), 1_000_000_000)
        time = {"secondsPastEpoch": seconds, "nanoseconds": nanoseconds}
        told = {
            "ColorMode": 0,
            "bands": ", ".join(self._spec.bands),
            "status": Status(status).name.lower(),
        }
        return Value(
            self._kind,
            {
                **fields,
                "uniqueId": number & 0x7FFFFFFF,
                "uncompressedSize": nbytes,
                "compressedSize": compressed,
                "dimension": self._dimension,
                "timeStamp": time,
                "dataTimeStamp": time if stamp != NEVER else {},
                "attribute": [{"name": key, "value": one} for key, one in told.items()],
            },
        )


class PvaWriter:
    """One worker's channel; values are made in its callers' threads."""

    def __init__(self, server: Any, channel: Any, images: Images, every: int) -> None:
        self._server, self._channel, self._images = server, channel, images
        self._every, self._lock = every, threading.Lock()

    def encode(self, frames: Frames) -> list[Any] | None:
        """Make values of the frames to be shown."""
        shown = np.flatnonzero(frames.numbers % self._every == 0).tolist()
        return [
            self._images.value(
                int(frames.numbers[at]), int(frames.timestamps[at]), int(frames.status[at]),
                frames.pixels[at],
            )
            for at in shown
        ] or None  # fmt: skip

    def write(self, encoded: list[list[Any]]) -> None:
        """Publish them; PVAccess keeps the newest for who is slow."""
        with self._lock:
            for values in encoded:
                for value in values:
                    self._channel.post(value)

    def close(self) -> dict[str, Any]:
        """Offer the channel no more."""
        self._channel.close(destroy=True)
        self._server.stop()
        return {}
