"""Compressed frames made pixels again, outside HDF5 and its lock, without the GIL."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limadask.frames import Codec, Frames, Packed
from limadask.storage import lz4_kernels
from limadask.storage.codec import bitshuffle_library

_HEADER = 12
"""Bytes in front of a chunk: those of the pixels, big-endian u8, and of a block, u4."""
_CHECKS: dict[Codec, Any] = {"bshuf_lz4": lz4_kernels.bitshuffled, "lz4": lz4_kernels.plain}
CORRUPT = "decode_error"
"""The cause of frames that are absent because they cannot be decoded."""


def sound(frames: Frames, deeply: bool = True) -> Frames:
    """Return the frames that can be decoded; the others are absent, with their cause.

    Those that are not packed are as they are. What is not looked at deeply may still fail.
    """
    packed = frames.packed
    if packed is None or (good := decodable(packed, deeply)).all():
        return frames
    lost = dict.fromkeys(frames.numbers[~good].tolist(), CORRUPT)
    return replace(frames.taking(good), causes={**frames.causes, **lost})


def decodable(packed: Packed, deeply: bool = True) -> NDArray[np.bool_]:
    """Tell which frames can be decoded, shape ``(frame,)``: it costs a tenth of decoding them.

    Not deeply it costs next to nothing, and tells which frames may be tried.
    """
    nbytes = packed.shape[0] * packed.shape[1] * packed.dtype.itemsize
    good = packed.sizes == nbytes
    if packed.codec != "none":
        check = _CHECKS[packed.codec]
        itemsize, found, place = packed.dtype.itemsize, good.reshape(-1), 0
        for memory, offsets, sizes in packed.runs():
            data = memory.view()
            data.flags.writeable = False  # one compiled function serves memory of all kinds
            stop = place + len(sizes)
            check(data, offsets, sizes, nbytes, itemsize, deeply, found[place:stop])
            place = stop
    return np.asarray(good.all(axis=1))


def compile_checks() -> None:
    """Compile what :func:`decodable` calls."""
    nothing = np.zeros((1, 1), np.int64)
    for codec in _CHECKS:
        decodable(Packed(np.zeros(1, np.uint8), nothing, nothing, codec, (1, 1), np.dtype("u1")))


def unpack(packed: Packed, out: NDArray[Any]) -> None:
    """Decode all chunks.

    Parameters
    ----------
    packed:
        The chunks, for which :func:`decodable` holds, deeply or not.
    out:
        Where the pixels are put, C-contiguous, shape ``(frame, band, y, x)``.

    Raises
    ------
    ValueError
        When a chunk cannot be decoded.
    """
    decode = _DECODERS[packed.codec]
    images = out.reshape(-1, *packed.shape)
    for chunk, image in zip(packed.chunks(), images, strict=True):
        decode(chunk, image)


def unpacked(frames: Frames) -> Frames:
    """Return the same frames with their pixels, in memory of their own if they were packed."""
    if frames.packed is None:
        return frames
    pixels = np.empty(frames.packed.pixels_shape, frames.packed.dtype)
    unpack(frames.packed, pixels)
    return frames.carrying(pixels)


def _plain(chunk: NDArray[np.uint8], image: NDArray[Any]) -> None:
    np.copyto(image.reshape(-1).view(np.uint8), chunk)


def _bitshuffled(chunk: NDArray[np.uint8], image: NDArray[Any]) -> None:
    decompress, _ = _functions()
    itemsize = image.itemsize
    block = int.from_bytes(chunk[8:_HEADER].tobytes(), "big") // itemsize
    read = decompress(chunk.ctypes.data + _HEADER, image.ctypes.data, image.size, itemsize, block)
    if read != chunk.size - _HEADER:
        raise ValueError(f"bitshuffle failed with code {read} on {image.shape} {image.dtype}")


def _lz4(chunk: NDArray[np.uint8], image: NDArray[Any]) -> None:
    _, decompress = _functions()
    block = int.from_bytes(chunk[8:_HEADER].tobytes(), "big")
    pixels, place = image.reshape(-1).view(np.uint8), _HEADER
    for start in range(0, pixels.size, block):
        part = pixels[start : start + block]
        size = int.from_bytes(chunk[place : place + 4].tobytes(), "big")
        place += 4
        if size == part.size:
            np.copyto(part, chunk[place : place + size])
        else:
            source = chunk.ctypes.data + place
            if decompress(source, part.ctypes.data, size, part.size) != part.size:
                raise ValueError(f"lz4 failed on {image.shape} {image.dtype}")
        place += size


_DECODERS: dict[Codec, Callable[[NDArray[np.uint8], NDArray[Any]], None]] = {
    "none": _plain,
    "bshuf_lz4": _bitshuffled,
    "lz4": _lz4,
}


@cache
def _functions() -> tuple[Any, Any]:
    """Return the decoders of bitshuffled and of plain LZ4 blocks."""
    library = bitshuffle_library()
    bitshuffled, plain = library.bshuf_decompress_lz4, library.LZ4_decompress_safe
    pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    bitshuffled.restype, bitshuffled.argtypes = ctypes.c_int64, [pointer, pointer, size, size, size]
    plain.restype, plain.argtypes = number, [pointer, pointer, number, number]
    return bitshuffled, plain
