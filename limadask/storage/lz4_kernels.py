"""Whether compressed chunks can be decoded: found out without decoding them, and without the GIL.

LZ4 has no checksum: a chunk that is well formed decodes to something, one that is not fails. The
walk over its sequences, which is some ten times faster than decoding, tells all that decoding would
tell. Less deeply, only the sizes of its blocks are looked at, which takes next to nothing: the
decoder of bitshuffle trusts them, and is safe afterwards.

The formats: LZ4's ``lz4_Block_format.md``; bitshuffle's and LZ4's HDF5 filters, 32008 and 32004.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

_compiled = njit(nogil=True, cache=True)
Bytes = NDArray[np.uint8]


@_compiled
def bitshuffled(
    data: Bytes,
    offsets: Any,
    sizes: Any,
    nbytes: int,
    itemsize: int,
    deeply: bool,
    found: NDArray[np.bool_],
) -> None:
    """Tell of chunks of filter 32008 whether each decodes to ``nbytes`` bytes."""
    for one in range(len(offsets)):
        begin, end = offsets[one], offsets[one] + sizes[one]
        found[one] = False
        if sizes[one] < 12 or _big_endian(data, begin, 8) != nbytes:
            continue
        block = _big_endian(data, begin + 8, 4)
        if block == 0 or block % (8 * itemsize):
            continue
        left, place = nbytes, begin + 12
        while left >= 8 * itemsize and place > 0:  # eight pixels or more make a block
            wanted = min(block, left // (8 * itemsize) * (8 * itemsize))
            place = _block(data, place, end, wanted, deeply)
            left -= wanted
        found[one] = place > 0 and place + left == end  # the last pixels stand there as they are


@_compiled
def plain(
    data: Bytes,
    offsets: Any,
    sizes: Any,
    nbytes: int,
    itemsize: int,
    deeply: bool,
    found: NDArray[np.bool_],
) -> None:
    """Tell of chunks of filter 32004 whether each decodes to ``nbytes`` bytes."""
    for one in range(len(offsets)):
        begin, end = offsets[one], offsets[one] + sizes[one]
        found[one] = False
        if sizes[one] < 12 or _big_endian(data, begin, 8) != nbytes:
            continue
        block = _big_endian(data, begin + 8, 4)
        if block == 0:
            continue
        left, place = nbytes, begin + 12
        while left > 0 and place > 0:
            wanted = min(block, left)
            if place + 4 <= end and _big_endian(data, place, 4) == wanted:
                place += 4 + wanted  # it stands there as it is
            else:
                place = _block(data, place, end, wanted, deeply)
            left -= wanted
        found[one] = place == end


@_compiled
def _big_endian(data: Bytes, place: int, count: int) -> Any:
    value = np.int64(0)
    for one in range(count):
        value = (value << 8) | np.int64(data[place + one])
    return value


@_compiled
def _block(data: Bytes, place: int, end: int, wanted: int, deeply: bool) -> Any:
    """Return where the block at ``place`` ends, -1 if it cannot decode to ``wanted`` bytes."""
    if place + 4 > end:
        return -1
    size = _big_endian(data, place, 4)
    place += 4
    if size > end - place or (deeply and not _decodes(data, place, place + size, wanted)):
        return -1
    return place + size


@_compiled
def _decodes(data: Bytes, place: int, end: int, wanted: int) -> bool:
    """Tell whether the sequences of an LZ4 block yield ``wanted`` bytes."""
    made = 0
    while place < end:
        token = np.int64(data[place])
        length, place = _length(data, place + 1, end, token >> 4)
        place, made = place + length, made + length
        if place >= end:  # the last sequence has no match
            return place == end and made == wanted
        if place + 2 > end:
            return False
        offset = np.int64(data[place]) | (np.int64(data[place + 1]) << 8)
        if offset == 0 or offset > made:
            return False
        length, place = _length(data, place + 2, end, token & 15)
        made += length + 4
        if made > wanted:
            return False
    return False


@_compiled
def _length(data: Bytes, place: int, end: int, length: Any) -> tuple[Any, int]:
    """Return a length that may go on in further bytes, and the place after it."""
    if length == 15:
        while place < end:
            more = np.int64(data[place])
            place += 1
            length += more
            if more != 255:
                return length, place
        return length, end + 1  # cut off
    return length, place
