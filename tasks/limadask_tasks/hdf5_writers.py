"""What HDF5 savers open on each worker: one writer for each entry of its files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limadask.frames import Frames, Status
from limadask.storage import (
    Chunks,
    Compression,
    FileSeries,
    Known,
    SparseChunks,
    by_frame,
    encoder,
    joined,
)
from limadask.storage.entry import Part, Views
from limadask.task import Rows


class FrameWriter(ABC):
    """One saver's frames, in whatever form: encoded in its callers' threads."""

    def __init__(self, series: FileSeries, rank: int, entry: str, compression: Compression) -> None:
        self._series, self._rank, self._entry = series, rank, entry
        self._encode = encoder(compression)

    @abstractmethod
    def encode(self, frames: Frames) -> Part:
        """Return frames as they are written."""

    def write(self, encoded: list[Any]) -> None:
        """Append at once and flush."""
        self._series.append([joined(encoded)], self._entry)

    def close(self) -> dict[str, Any]:
        """Close the entry, and with the last one the files; name these."""
        digests = self._series.close(self._entry)
        return {"rank": self._rank, "files": self._series.paths, "digests": digests}

    def _known(self, frames: Frames) -> dict[str, Any]:
        """Return what is known of frames, whatever their form."""
        shape = frames.pixels.shape[1:]
        invalid = {
            number: [self._encode(band) for band in np.broadcast_to(mask, shape).astype(np.uint8)]
            for number, mask in frames.invalid.items()
        }
        odd = frames.numbers[frames.status != Status.PRESENT].tolist()
        causes = {number: frames.causes[number] for number in odd if number in frames.causes}
        return {
            "numbers": frames.numbers,
            "timestamps": frames.timestamps,
            "status": frames.status,
            "invalid": invalid,
            "causes": causes,
            "values": frames.values,
        }


class Hdf5Writer(FrameWriter):
    """Frames with all their pixels."""

    keeps = False
    """Whether pixels that are not compressed stay as they are until they are written."""

    def __init__(self, series: FileSeries, rank: int, entry: str, compression: Compression) -> None:
        super().__init__(series, rank, entry, compression)
        self.codec = compression
        """How its chunks are compressed: those that the detector has made so are written as are."""

    def encode(self, frames: Frames) -> Chunks:
        """Compress each band of each frame."""
        chunks: Sequence[bytes | NDArray[np.uint8]]
        if frames.packed is not None:
            chunks = frames.packed.chunks()  # written before the block is gone: no copy
        elif self.keeps:
            chunks = [one.reshape(-1).view(np.uint8) for frame in frames.pixels for one in frame]
        else:
            chunks = [self._encode(image) for frame in frames.pixels for image in frame]
        kind = Views if self.keeps or frames.packed is not None else Chunks
        return kind(data=chunks, **self._known(frames))


class SparseWriter(FrameWriter):
    """Frames of which only the pixels that hold something are kept; HDF5 compresses them."""

    def encode(self, frames: Frames) -> SparseChunks:
        """Number the pixels within frames."""
        if (sparse := frames.sparse) is None:
            raise TypeError("planned for sparse frames and got dense ones")
        counts, index = by_frame(sparse)
        return SparseChunks(
            counts=counts, index=index, intensity=sparse.intensity,
            background=sparse.background, **self._known(frames),
        )  # fmt: skip


class ProductWriter:
    """One saver's by-products."""

    def __init__(self, series: FileSeries, rank: int, entry: str) -> None:
        self._series, self._rank, self._entry = series, rank, entry

    def encode(self, rows: Rows) -> Rows:
        """Return them as they are: they are nobody else's."""
        return rows

    def write(self, encoded: list[Rows]) -> None:
        """Append them at once and flush."""
        self._series.append([Rows.joined(encoded)], self._entry)

    def close(self) -> dict[str, Any]:
        """Close the entry, and with the last one the files; name these."""
        digests = self._series.close(self._entry)
        return {"rank": self._rank, "files": self._series.paths, "digests": digests}


class RunWriter(ProductWriter):
    """What this worker knows of the whole run."""

    def encode(self, known: Any) -> Any:
        """Return it as it is written."""
        return Known(known)

    def write(self, encoded: list[Any]) -> None:
        """Write it and flush; once, at the end of the run."""
        self._series.append(encoded, self._entry)
