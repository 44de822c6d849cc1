"""Images in an HDF5 file; external and virtual links are followed by HDF5 itself."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from limadask.errors import ConfigError
from limadask.storage import Soundness, check_sources, find_images
from limadask_detectors.replay.description import describe, describe_pattern
from limadask_detectors.replay.images import COLOURS, Image, Images, Layout, native
from limadask_detectors.replay.notes import Notes


class Hdf5Images(Images):
    """All images of an HDF5 file, those of several datasets one after the other.

    A dataset of two dimensions is one image; three are ``(frame, y, x)``, four are
    ``(frame, band, y, x)``. Colours may also come last, ``(y, x, colour)`` or
    ``(frame, y, x, colour)``: where the attribute ``interpretation`` is ``rgba-image`` or
    ``rgb-image``, or where four dimensions can be nothing else.

    Parameters
    ----------
    path:
        The file.
    dataset:
        Place in it, if several might be meant.
    """

    def __init__(self, path: str, dataset: str | None) -> None:
        self._file = h5py.File(path, "r")
        self._stacks: list[_Stack] = []
        try:
            for one in find_images(self._file, dataset):
                self._stacks.append(_Stack(one, path))
            self.layout = self._stacks[0].layout
            for stack in self._stacks:
                if stack.layout != self.layout:
                    raise ConfigError(
                        f"{path} holds images of different kinds: {self._stacks[0]} and {stack}",
                        field="path",
                        value=path,
                        allowed="one shape and one type",
                    )
            self._starts = np.cumsum([0, *(stack.count for stack in self._stacks)])
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return int(self._starts[-1])

    def read(self, number: int, out: NDArray[Any]) -> Image | None:
        """Let HDF5 write an image into ``out``; None where limadask saved none."""
        index = int(np.searchsorted(self._starts, number, side="right")) - 1
        return self._stacks[index].read(number - int(self._starts[index]), out)

    def close(self) -> None:
        """Close the file, and those it links to, which stay open as long as their datasets."""
        for stack in self._stacks:
            stack.close()
        self._stacks = []
        self._file.close()

    def description(self) -> dict[str, Any]:
        """Return what the file's NXdetector tells."""
        return describe(self._file) | self._stacks[0].pattern()


class _Stack:
    """The images of one dataset."""

    def __init__(self, dataset: h5py.Dataset, path: str) -> None:
        if dataset.ndim > 4:
            raise ConfigError(
                f"{path} holds images of {dataset.ndim} dimensions in {dataset.name}",
                field="dataset",
                value=dataset.name,
                allowed="(y, x), (frame, y, x) or (frame, band, y, x)",
            )
        check_sources(dataset, path)
        self._dataset, self._has_colours = dataset, _has_colours(dataset)
        self._is_one = dataset.ndim == (3 if self._has_colours else 2)
        self.count = 1 if self._is_one else len(dataset)
        rows, columns = dataset.shape[-3:-1] if self._has_colours else dataset.shape[-2:]
        self.layout = Layout((rows, columns), native(dataset.dtype, path), self._bands())
        self._notes = Notes(dataset, self.count)
        self._soundness = Soundness(dataset)

    def __str__(self) -> str:
        return f"{self._dataset.name} ({self.layout})"

    def read(self, number: int, out: NDArray[Any]) -> Image | None:
        """Write one image into ``out``, unless none was saved."""
        image = self._notes.image(number)
        if image is not None:
            rows = range(len(self._dataset)) if self._is_one and self._has_colours else [number]
            for place in rows:  # or frames: the first dimension
                self._soundness.check(place)
            source = np.s_[...] if self._is_one else np.s_[number]
            if self._has_colours:
                np.copyto(out, np.moveaxis(self._dataset[source], -1, 0))
            else:
                self._dataset.read_direct(out if self._dataset.ndim == 4 else out[0], source)
        return image

    def pattern(self) -> dict[str, Any]:
        """Return the pattern of colour filters, if the file tells one."""
        return {} if self._has_colours else describe_pattern(self._dataset)

    def close(self) -> None:
        """Close what was opened to look at the chunks."""
        self._soundness.close()

    def _bands(self) -> tuple[str, ...]:
        dataset = self._dataset
        if self._has_colours:
            return COLOURS[dataset.shape[-1]]
        return _names(dataset) if dataset.ndim == 4 else ("0",)


def _has_colours(dataset: h5py.Dataset) -> bool:
    """Tell whether the last dimension is that of colours."""
    if dataset.ndim < 3 or dataset.shape[-1] not in COLOURS:
        return False
    interpretation = dataset.attrs.get("interpretation")
    if isinstance(interpretation, bytes):
        interpretation = interpretation.decode(errors="replace")
    if isinstance(interpretation, str):
        return interpretation in ("rgba-image", "rgb-image")
    return bool(dataset.ndim == 4 and dataset.shape[1] > max(COLOURS))


def _names(dataset: h5py.Dataset) -> tuple[str, ...]:
    """Return the names in ``band`` beside the dataset, else numbers."""
    count = dataset.shape[1]
    names = dataset.parent.get("band")
    if isinstance(names, h5py.Dataset) and names.shape == (count,):
        values = names.asstr()[()] if h5py.check_string_dtype(names.dtype) else names[()]
        bands = tuple(map(str, values))
        if len(set(bands)) == count:
            return bands
    return tuple(map(str, range(count)))
