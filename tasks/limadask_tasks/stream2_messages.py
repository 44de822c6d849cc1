"""Messages of DECTRIS' stream2: maps of CBOR (RFC 8949) whose pixels are typed arrays (RFC 8746).

Fields and tags are those of the documentation of the SIMPLON API, stream V2.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from struct import pack
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from limadask.frames import NEVER, Codec, Spec
from limadask.storage import encoder

ALGORITHMS: Mapping[Codec, str] = {"bshuf_lz4": "bslz4", "lz4": "lz4"}
"""What the stream calls codecs."""
TICKS = 1_000_000_000
"""Ticks a second of the clock whose times are told."""
KEV_ANGSTROM = 12.398419843320026
"""Energy of a photon in keV times its wavelength in Å (CODATA 2018, exact)."""
_TYPES = {
    "|u1": 64, "<u2": 69, "<u4": 70, "<u8": 71, "|i1": 72, "<i2": 77, "<i4": 78, "<i8": 79,
    "<f4": 85, "<f8": 86,
}  # fmt: skip
_DESCRIBED, _ARRAY, _COMPRESSED, _DATE = 55799, 40, 56500, 0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Chunk = bytes | NDArray[np.uint8]


class Messages:
    """The messages of one series.

    Parameters
    ----------
    spec:
        The frames.
    uuid:
        The acquisition.
    about:
        What is known of the run: ``parameters`` and ``detector``, plain data.
    """

    def __init__(self, spec: Spec, uuid: str, about: Mapping[str, Any]) -> None:
        self._spec, self._detector = spec, about.get("detector", {})
        self._hardware = about.get("parameters", {}).get("hardware", {})
        series = str(self._hardware.get("series", ""))
        # another one for each run, the same on all its workers
        number = int(series) if series.isdecimal() else crc32(uuid.encode()) >> 1
        self._whose = {"series_id": number, "series_unique_id": uuid}
        self._exposure = round(float(self._hardware.get("expo_time", 0.0)) * TICKS)
        self._lock, self._began = threading.Lock(), NEVER

    def start(self) -> bytes:
        """Return the message that begins the series."""
        spec, told, hardware = self._spec, self._detector, self._hardware
        rows, columns = spec.grid.shape
        fields: dict[str, Any] = {
            "arm_date": _Tagged(_DATE, _date(datetime.now(UTC))),
            "channels": list(spec.bands),
            "image_dtype": spec.dtype.name,
            "image_size_x": columns,
            "image_size_y": rows,
            "number_of_images": spec.nb_frames or 0,
            "count_time": float(hardware.get("expo_time", 0.0)),
            "frame_time": float(hardware.get("expo_time", 0) + hardware.get("latency_time", 0)),
            "detector_description": str(told.get("model", "")),
            "detector_serial_number": str(told.get("serial", "")),
            "saturation_value": told.get("saturation_value"),
            "sensor_material": told.get("sensor_material"),
            "sensor_thickness": told.get("sensor_thickness"),
            "detector_distance": told.get("distance"),
        }
        if told.get("wavelength"):
            fields["incident_wavelength"] = told["wavelength"]
            fields["incident_energy"] = KEV_ANGSTROM / told["wavelength"] * 1000
        if told.get("beam_centre"):
            y, x = (~spec.grid)(*told["beam_centre"])
            fields |= {"beam_center_x": float(x), "beam_center_y": float(y)}
        if told.get("pixel_size"):
            matrix = np.abs(spec.grid.affine.as_array()[:2, :2])
            y, x = np.asarray(told["pixel_size"]) @ matrix  # binned, turned
            fields |= {"pixel_size_x": float(x), "pixel_size_y": float(y)}
        if len(energies := told.get("thresholds") or ()) == len(spec.bands):
            fields["threshold_energy"] = dict(zip(spec.bands, energies, strict=True))
        if spec.masked is not None:
            masks = np.broadcast_to(spec.masked, spec.frame_shape).astype("<u4")
            encode = encoder("bshuf_lz4")
            fields["pixel_mask"] = {
                band: _array(bytes(encode(mask)), mask.shape, mask.dtype, "bshuf_lz4")
                for band, mask in zip(spec.bands, masks, strict=True)
            }
        return self._message("start", {key: one for key, one in fields.items() if one is not None})

    def image(self, number: int, stamp: int, chunks: Iterable[Chunk], codec: Codec) -> bytes:
        """Return an image.

        Parameters
        ----------
        number:
            The frame.
        stamp:
            When its exposure began, UTC nanoseconds.
        chunks:
            Its bands.
        codec:
            How they are compressed.
        """
        spec = self._spec
        fields: dict[str, Any] = {"image_id": number}
        begin = 0
        if stamp != NEVER:
            began = self._beginning(stamp)
            begin = stamp - began
            moment = _EPOCH + timedelta(microseconds=began // 1000)
            fields["series_date"] = _Tagged(_DATE, _date(moment))
        fields |= {
            "start_time": [begin, TICKS],
            "stop_time": [begin + self._exposure, TICKS],
            "real_time": [self._exposure, TICKS],
            "data": {
                band: _array(chunk, spec.grid.shape, spec.dtype, codec)
                for band, chunk in zip(spec.bands, chunks, strict=True)
            },
        }
        return self._message("image", fields)

    def end(self) -> bytes:
        """Return the message that ends the series."""
        return self._message("end", {})

    def _beginning(self, stamp: int) -> int:
        """Return the time of the first frame, in whole microseconds, as a date has them."""
        with self._lock:
            if self._began == NEVER:
                self._began = stamp // 1000 * 1000
            return self._began

    def _message(self, kind: str, fields: Mapping[str, Any]) -> bytes:
        return dumps(_Tagged(_DESCRIBED, {"type": kind, **self._whose, **fields}))


class _Tagged:
    """A value, and the number of the tag that says what it means."""

    __slots__ = ("number", "value")

    def __init__(self, number: int, value: Any) -> None:
        self.number, self.value = number, value


def _array(chunk: Chunk, shape: tuple[int, ...], dtype: np.dtype[Any], codec: Codec) -> _Tagged:
    """Return an image: its shape, its type and its bytes."""
    content: Any = chunk
    if codec != "none":
        size = dtype.itemsize if codec == "bshuf_lz4" else 0
        content = _Tagged(_COMPRESSED, [ALGORITHMS[codec], size, chunk])
    kind = _TYPES[dtype.newbyteorder("<").str]
    return _Tagged(_ARRAY, [list(shape), _Tagged(kind, content)])


def _date(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")


def dumps(value: Any) -> bytes:
    """Return plain data and tagged values as CBOR; byte strings are copied once."""
    pieces: list[Any] = []
    _add(pieces, value)
    return b"".join(pieces)


def _add(pieces: list[Any], value: Any) -> None:
    if isinstance(value, bool):
        pieces.append(b"\xf5" if value else b"\xf4")
    elif isinstance(value, int):
        pieces.append(_head(0, value) if value >= 0 else _head(1, -1 - value))
    elif isinstance(value, float):
        pieces.append(pack(">Bd", 0xFB, value))
    elif isinstance(value, str):
        text = value.encode()
        pieces += (_head(3, len(text)), text)
    elif isinstance(value, bytes | np.ndarray):
        pieces += (_head(2, len(value)), value)
    elif isinstance(value, _Tagged):
        pieces.append(_head(6, value.number))
        _add(pieces, value.value)
    elif isinstance(value, Mapping):
        pieces.append(_head(5, len(value)))
        for key, one in value.items():
            _add(pieces, key)
            _add(pieces, one)
    elif isinstance(value, list | tuple):
        pieces.append(_head(4, len(value)))
        for one in value:
            _add(pieces, one)
    else:
        raise TypeError(f"{type(value).__name__} has no form in these messages")


def _head(major: int, argument: int) -> bytes:
    """Return how a value begins: what it is, and its size or number."""
    if argument < 24:
        return bytes((major << 5 | argument,))
    size = next(one for one in range(4) if argument < 1 << (8 << one))
    return bytes((major << 5 | 24 + size,)) + argument.to_bytes(1 << size, "big")
