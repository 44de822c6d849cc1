"""Payloads of a detector as HDF5 chunks, checked as far as their headers go, seldom copied.

The header of filter 32008, bitshuffle with LZ4: bytes of the image as u8, bytes of a block as u4,
big-endian. That of filter 32004, LZ4, is the same; then each block has its size before it, u4.
"""

from __future__ import annotations

from struct import Struct
from typing import Any

import numpy as np

from limadask_detectors.dectris.message import Part

_HEADER, _BLOCK = Struct(">QI"), Struct(">I")
_DEFAULT_BLOCK = 8192
_SHORTEST = _BLOCK.size + 1
"""Bytes of a block that is compressed as well as can be."""


def bshuf_lz4(payload: Part, nbytes: int, itemsize: int) -> Part:
    """Return the chunk of filter 32008.

    Raises
    ------
    ValueError
        When its header is not that of an image of ``nbytes``.
    """
    if payload[: _HEADER.size] == bytes(_HEADER.size):  # emulators leave it out
        block = max(_DEFAULT_BLOCK // itemsize // 8 * 8, 128) * itemsize
        payload = _HEADER.pack(nbytes, block) + payload[_HEADER.size :]
    block = _checked(payload, nbytes)
    if block % (8 * itemsize):
        raise ValueError(f"blocks of {block} bytes are not of 8 pixels of {itemsize} bytes")
    return payload


def lz4(payload: Part, nbytes: int) -> Part:
    """Return the chunk of filter 32004.

    Raises
    ------
    ValueError
        When its header is not that of an image of ``nbytes``.
    """
    _checked(payload, nbytes)
    return payload


def lz4_of_block(payload: Part, nbytes: int) -> Part:
    """Return the chunk of filter 32004 for a bare block of LZ4.

    Raises
    ------
    ValueError
        When it cannot be one.
    """
    # a block of the size of its pixels would be taken for pixels that are not compressed
    if not 0 < len(payload) != nbytes < 1 << 32:
        raise ValueError(f"{len(payload)} bytes of LZ4 are no image of {nbytes}")
    return b"".join((_HEADER.pack(nbytes, nbytes), _BLOCK.pack(len(payload)), payload))


def plain(payload: Part, shape: tuple[int, int], dtype: np.dtype[Any], order: str = "C") -> Part:
    """Return pixels that are not compressed: row by row, little-endian.

    Raises
    ------
    ValueError
        When there are more or fewer bytes than the image has.
    """
    nbytes = shape[0] * shape[1] * dtype.itemsize
    if len(payload) != nbytes:
        raise ValueError(f"{len(payload)} bytes are no image of {nbytes}")
    if order == "C" and dtype.newbyteorder("<") == dtype:
        return payload
    pixels = np.frombuffer(payload, dtype).reshape(shape, order=order)  # type: ignore[call-overload]
    return np.ascontiguousarray(pixels, dtype.newbyteorder("<")).tobytes()


def _checked(payload: Part, nbytes: int) -> int:
    """Return the bytes of a block by a header that fits."""
    if len(payload) < _HEADER.size:
        raise ValueError(f"{len(payload)} bytes are too few for a header")
    total, block = _HEADER.unpack_from(payload)
    if total != nbytes or not block:
        raise ValueError(f"its header tells of {total} bytes in blocks of {block}, not {nbytes}")
    if len(payload) < _HEADER.size + total // block * _SHORTEST:
        raise ValueError(f"{len(payload)} bytes are too few for {total // block} blocks")
    return int(block)
