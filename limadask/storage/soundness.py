"""Whether chunks can be given to HDF5: damaged ones crash it, and the whole process with it.

HDF5 2.0 reads a whole chunk from what a filter has decoded, however short that is, and the
bitshuffle filter trusts the lengths it finds in a chunk.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import h5py

_DEFLATE, _BLOSC, _LZ4, _BITSHUFFLE = 1, 32001, 32004, 32008
_HEADER = struct.Struct(">QI")


class Soundness:
    """Looks at the chunks of a dataset, or of those that a virtual one is made of.

    Chunks of other filters than deflate, Blosc, LZ4 and bitshuffle are taken as sound.

    Parameters
    ----------
    dataset:
        Images, the first axis of three or more is that of the frames.
    """

    def __init__(self, dataset: h5py.Dataset) -> None:
        self._files = ExitStack()
        self._parts: list[_Part] = []
        self._chunks: _Chunks | None = None
        if dataset.is_virtual:
            try:
                self._parts = list(self._open_parts(dataset))
            except BaseException:
                self.close()
                raise
        elif dataset.chunks is not None and dataset.id.get_create_plist().get_nfilters():
            self._chunks = _Chunks(dataset)

    def check(self, number: int) -> None:
        """Look at all chunks that a frame is made of.

        Raises
        ------
        OSError
            When one is damaged.
        """
        if self._chunks is not None:
            self._chunks.check(number)
        for part in self._parts:
            if part.first <= number <= part.last:
                part.soundness.check(number - part.first + part.offset)

    def close(self) -> None:
        """Close the files of a virtual dataset."""
        self._parts, self._chunks = [], None
        self._files.close()

    def _open_parts(self, dataset: h5py.Dataset) -> Iterator[_Part]:
        """Yield what a virtual dataset is made of; sources that are not there read as fill."""
        folder = Path(dataset.file.filename).parent
        for space, name, place, source_space in dataset.virtual_sources():
            if name == ".":
                file = dataset.file
            else:
                paths = [one for one in (folder / name, Path(name)) if one.exists()]
                if not paths:
                    continue
                file = self._files.enter_context(h5py.File(paths[0], "r"))
            source = file.get(place)
            if not isinstance(source, h5py.Dataset):
                continue
            (first, *_), (last, *_) = space.get_select_bounds()
            offset = 0
            if source.ndim == dataset.ndim and source_space.get_select_type() != h5py.h5s.SEL_ALL:
                offset = int(source_space.get_select_bounds()[0][0])
            soundness = Soundness(source)
            self._files.callback(soundness.close)
            yield _Part(int(first), int(last), offset, soundness)


@dataclass(frozen=True, slots=True)
class _Part:
    """Frames of a virtual dataset, and where they come from."""

    first: int
    last: int
    offset: int
    soundness: Soundness


class _Chunks:
    """The compressed chunks of one dataset."""

    def __init__(self, dataset: h5py.Dataset) -> None:
        self._dataset = dataset
        creation = dataset.id.get_create_plist()
        self._filters = [creation.get_filter(one)[0] for one in range(creation.get_nfilters())]
        self._nbytes = dataset.dtype.itemsize
        for length in dataset.chunks:
            self._nbytes *= length
        self._row = -1

    def check(self, number: int) -> None:
        shape, chunks = self._dataset.shape, self._dataset.chunks
        row = number // chunks[0] if len(shape) > 2 else -2
        if row == self._row:  # the frame before was in the same chunks
            return
        starts = [range(0, extent, step) for extent, step in zip(shape, chunks, strict=True)]
        if len(shape) > 2:
            starts[0] = range(row * chunks[0], row * chunks[0] + 1)
        for place in product(*starts):
            self._check_chunk(place)
        self._row = row

    def _check_chunk(self, place: tuple[int, ...]) -> None:
        if not self._dataset.id.get_chunk_info_by_coord(place).size:
            return  # never written: it reads as fill
        mask, chunk = self._dataset.id.read_direct_chunk(place)
        applied = [one for bit, one in enumerate(self._filters) if not mask >> bit & 1]
        if not applied:
            is_sound = len(chunk) == self._nbytes
        elif last := _LOOKS.get(applied[-1]):
            is_sound = last(chunk, self._nbytes, self._dataset.dtype.itemsize)
        else:
            is_sound = True
        if not is_sound:
            raise OSError(f"the chunk at {place} of {self._dataset.name} is damaged")


def _sound_bitshuffle(chunk: bytes, nbytes: int, itemsize: int) -> bool:
    """Walk along the lengths of the blocks: 12-byte header, blocks, last elements as they are.

    Format: hdf5 filter 32008, https://github.com/kiyo-masui/bitshuffle.
    """
    if len(chunk) < _HEADER.size:
        return False
    told, block_nbytes = _HEADER.unpack_from(chunk)
    block = block_nbytes // itemsize or max(8192 // itemsize // 8 * 8, 128)
    if told != nbytes or block % 8:
        return False
    count, last = divmod(nbytes // itemsize, block)
    count += last >= 8
    end = _walk(chunk, _HEADER.size, count, 0)
    return end is not None and end + last % 8 * itemsize == len(chunk)


def _sound_lz4(chunk: bytes, nbytes: int, itemsize: int) -> bool:
    """Walk along the lengths of the blocks, as of bitshuffle. Format: HDF5 filter 32004."""
    if len(chunk) < _HEADER.size:
        return False
    told, block = _HEADER.unpack_from(chunk)
    if told != nbytes or not block:
        return False
    return _walk(chunk, _HEADER.size, -(-nbytes // block), block) == len(chunk)


def _walk(chunk: bytes, place: int, count: int, most: int) -> int | None:
    """Return where ``count`` blocks end, each with its length before it; None if outside."""
    end = len(chunk)
    for _ in range(count):
        length = int.from_bytes(chunk[place : place + 4], "big")
        place += 4 + length
        if place > end or (most and length > most):
            return None
    return place


def _sound_blosc(chunk: bytes, nbytes: int, itemsize: int) -> bool:
    """Compare lengths with those of the 16-byte header. Format: c-blosc, README_HEADER."""
    if len(chunk) < 16:
        return False
    told, _, compressed = struct.unpack_from("<III", chunk, 4)
    return bool(told == nbytes and compressed == len(chunk))


def _sound_deflate(chunk: bytes, nbytes: int, itemsize: int) -> bool:
    """Decode it: a zlib stream (RFC 1950) tells no length."""
    stream = zlib.decompressobj()
    try:
        return len(stream.decompress(chunk, nbytes + 1)) == nbytes
    except zlib.error:
        return False


_LOOKS: dict[int, Callable[[bytes, int, int], Any]] = {
    _DEFLATE: _sound_deflate,
    _BLOSC: _sound_blosc,
    _LZ4: _sound_lz4,
    _BITSHUFFLE: _sound_bitshuffle,
}
