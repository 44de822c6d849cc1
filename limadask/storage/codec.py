"""HDF5 chunks compressed in memory, outside HDF5 and its lock, without the GIL.

The chunks of ``bshuf_lz4`` are byte for byte what HDF5 filter 32008 would write: a 12-byte
big-endian header (bytes of the frame as u8, bytes of a block as u4), then the stream of
bitshuffle. The others decode to the same pixels.
"""

from __future__ import annotations

import ctypes
import struct
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal

import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from limadask.memory import Scratch

Compression = Literal["none", "bshuf_lz4", "bshuf_zstd", "blosc_zstd", "zip"]
Encoder = Callable[[NDArray[Any]], bytes | NDArray[np.uint8]]
"""Turns one frame into a chunk."""
_ZSTD_LEVEL = 1


def dataset_options(compression: Compression) -> Mapping[str, Any]:
    """Return what ``create_dataset`` needs so that readers find the filter."""
    options: dict[str, Mapping[str, Any]] = {
        "none": {},
        "bshuf_lz4": dict(hdf5plugin.Bitshuffle(cname="lz4")),
        "bshuf_zstd": dict(hdf5plugin.Bitshuffle(cname="zstd", clevel=_ZSTD_LEVEL)),
        "blosc_zstd": dict(
            hdf5plugin.Blosc(cname="zstd", clevel=_ZSTD_LEVEL, shuffle=hdf5plugin.Blosc.BITSHUFFLE)
        ),
        "zip": {"compression": "gzip", "compression_opts": 1},
    }
    return options[compression]


def encoder(compression: Compression) -> Encoder:
    """Return the function that makes chunks for a dataset of these options."""
    room = Scratch()  # for a chunk before its size is known
    encoders: dict[str, Encoder] = {
        "none": lambda frame: frame.reshape(-1).view(np.uint8).copy(),
        "bshuf_lz4": lambda frame: _bitshuffle(frame, room, "lz4"),
        "bshuf_zstd": lambda frame: _bitshuffle(frame, room, "zstd", _ZSTD_LEVEL),
        "blosc_zstd": lambda frame: _blosc(frame, room),
        "zip": lambda frame: zlib.compress(frame.data, 1),
    }
    encode = encoders[compression]
    # the codecs read bare memory: what is not contiguous must become so first
    return lambda frame: encode(np.ascontiguousarray(frame))


def _bitshuffle(
    frame: NDArray[Any], scratch: Scratch, codec: str, *level: int
) -> NDArray[np.uint8]:
    compress, bound = _bitshuffle_functions(codec)
    size, itemsize = frame.size, frame.itemsize
    block = max(8192 // itemsize // 8 * 8, 128)  # elements; the filter's own choice
    room = scratch.array(None, (12 + bound(size, itemsize, block),), np.uint8)
    count = compress(frame.ctypes.data, room.ctypes.data + 12, size, itemsize, block, *level)
    if count < 0:
        raise ValueError(f"bitshuffle failed with code {count} on {frame.shape} {frame.dtype}")
    room[:12] = np.frombuffer(struct.pack(">QI", frame.nbytes, block * itemsize), np.uint8)
    return room[: 12 + count].copy()


def _blosc(frame: NDArray[Any], scratch: Scratch) -> NDArray[np.uint8]:
    compress = _blosc_function()
    room = scratch.array(None, (frame.nbytes + 16,), np.uint8)  # BLOSC_MAX_OVERHEAD
    bits = 2  # BLOSC_BITSHUFFLE
    count = compress(
        _ZSTD_LEVEL, bits, frame.itemsize, frame.nbytes, frame.ctypes.data,
        room.ctypes.data, frame.nbytes + 16, b"zstd", 0, 1,
    )  # fmt: skip
    if count <= 0:
        raise ValueError(f"blosc failed with code {count} on {frame.shape} {frame.dtype}")
    return room[:count].copy()


@cache
def bitshuffle_library() -> ctypes.CDLL:
    """Return the fastest library of bitshuffle and LZ4 there is.

    The ``bitshuffle`` wheel is built for AVX2 and 1.4 times faster than its twin in
    ``hdf5plugin``, but only for CPython 3.11 and 3.12. Both export the same functions.
    """
    try:
        from bitshuffle import ext

        library = ctypes.CDLL(ext.__file__)
        if hasattr(library, "bshuf_compress_zstd_bound"):
            return library
    except ImportError:
        pass
    return ctypes.CDLL(hdf5plugin.get_config().registered_filters["bshuf"])


@cache
def _bitshuffle_functions(codec: str) -> tuple[Any, Any]:
    """Return compress and bound."""
    library = bitshuffle_library()
    compress = getattr(library, f"bshuf_compress_{codec}")
    compress.restype = ctypes.c_int64
    sizes = [ctypes.c_size_t] * 3
    levels = [ctypes.c_int] if codec == "zstd" else []
    compress.argtypes = [ctypes.c_void_p, ctypes.c_void_p, *sizes, *levels]
    bound = getattr(library, f"bshuf_compress_{codec}_bound")
    bound.restype, bound.argtypes = ctypes.c_size_t, sizes
    return compress, bound


@cache
def _blosc_function() -> Any:
    library = ctypes.CDLL(hdf5plugin.get_config().registered_filters["blosc"])
    compress = library.blosc_compress_ctx
    compress.restype = ctypes.c_int
    pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    compress.argtypes = [
        number, number, size, size, pointer, pointer, size, ctypes.c_char_p, size, number,
    ]  # fmt: skip
    return compress
