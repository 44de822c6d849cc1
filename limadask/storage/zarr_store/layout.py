"""What a Zarr store has: its metadata, and the small arrays beside the frames, as files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limadask.frames import NEVER, Spec, Status
from limadask.storage.parts import Contents
from limadask.storage.plain import plain
from limadask.storage.zarr_store.chunks import ZarrCompression, codec_of, zarr_python
from limadask.version import __version__

ROOT = "zarr.json"
INVALID = "invalid"
"""Where pixels are missing from single frames; without a file it reads as False."""
_ROW = 1 << 14
"""Values in a chunk along ``frame``: always as many, so that a store may grow while it is read."""
_FLAGS = {
    "flag_values": [int(one) for one in Status],
    "flag_meanings": " ".join(one.name.lower() for one in Status),
}
_TIMES = {"units": "nanoseconds since 1970-01-01", "calendar": "proleptic_gregorian"}


@dataclass(frozen=True, slots=True)
class Fates:
    """What became of the frames, each shape ``(frame,)``.

    Parameters
    ----------
    status, causes, timestamps:
        As in the ledger.
    values:
        What else the detector told of each, by name.
    """

    status: NDArray[np.uint8]
    causes: list[str]
    timestamps: NDArray[np.int64]
    values: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    @classmethod
    def of(cls, contents: Contents, status: NDArray[np.uint8], causes: NDArray[np.bytes_]) -> Fates:
        """Return what is known at the end, with what the savers told of the frames that are there.

        Parameters
        ----------
        contents:
            What they told.
        status, causes:
            What became of all frames.
        """
        stamps = np.full(len(status), NEVER)
        stamps[contents.numbers] = contents.timestamps
        values = {name: np.full(len(status), np.nan) for name in contents.values}
        for name, some in contents.values.items():
            values[name][contents.numbers] = some
        return cls(status, [cause.decode() for cause in causes.tolist()], stamps, values)

    @classmethod
    def unknown(cls, count: int) -> Fates:
        """Return what is known while the run goes on."""
        return cls(np.zeros(count, np.uint8), [""] * count, np.full(count, NEVER))


@dataclass(frozen=True, slots=True)
class Layout:
    """The arrays of a store for frames that are as a spec says.

    Parameters
    ----------
    spec:
        The frames.
    compression:
        How their chunks are compressed.
    has_bands:
        Whether frames have a band axis.
    """

    spec: Spec
    compression: ZarrCompression
    has_bands: bool

    @property
    def name(self) -> str:
        """Name of the array with the frames, as in master files."""
        return "images" if self.has_bands else "data"

    @property
    def dims(self) -> tuple[str, ...]:
        """Dimensions of the frames."""
        return ("frame", "band", "y", "x") if self.has_bands else ("frame", "y", "x")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one frame."""
        return self.spec.frame_shape if self.has_bands else self.spec.grid.shape

    def key(self, number: int) -> str:
        """Return the name of a frame's chunk."""
        return f"c.{number}" + ".0" * len(self.shape)

    def documents(
        self, count: int, attributes: Mapping[str, Any], fates: Fates, has_invalid: bool = False
    ) -> dict[str, bytes]:
        """Return all files of the store but the chunks of the frames, those that others need first.

        Parameters
        ----------
        count:
            How many frames it is to have room for.
        attributes:
            What is known of the run.
        fates:
            What became of the frames.
        has_invalid:
            Whether single frames lack pixels.
        """
        zarr, memory = zarr_python(), dict[str, Any]()
        made = zarr.create_group(
            zarr.storage.MemoryStore(memory),
            zarr_format=3,
            attributes={"creator": f"limadask {__version__}", **plain(attributes)},
        )
        spec = self.spec
        told = {INVALID: has_invalid, "masked": spec.masked is not None}
        extra = [name for name, is_there in told.items() if is_there]
        self._add_frames(made, self.name, count, spec.dtype, spec.fill, {
            "interpretation": "image",
            "image_transform": spec.grid.affine.as_array().tolist(),
            **({"coordinates": " ".join(extra)} if extra else {}),
        })  # fmt: skip
        if has_invalid:
            self._add_frames(made, INVALID, count, np.dtype(bool), False, {})
        if spec.masked is not None:
            dims = ("y", "x") if spec.masked.ndim == 2 else ("band", "y", "x")
            _add(made, "masked", spec.masked, dims)
        if self.has_bands:
            _add(made, "band", np.array(spec.bands, object), ("band",))
        _add(made, "frame", np.arange(count), ("frame",))
        _add(made, "timestamp", fates.timestamps, ("frame",), _TIMES, NEVER)
        _add(made, "frame_status", fates.status, ("frame",), _FLAGS)
        _add(made, "frame_cause", np.array(fates.causes, object), ("frame",))
        for name, units in spec.columns:
            values = fates.values.get(name, np.full(count, np.nan))
            _add(made, name, values, ("frame",), {"units": units}, np.nan)
        return _consolidated({key: one.to_bytes() for key, one in memory.items()})

    def _add_frames(
        self, root: Any, name: str, count: int, dtype: np.dtype[Any], fill: Any,
        attributes: Mapping[str, Any],
    ) -> None:  # fmt: skip
        """Add an array with a chunk for each frame: one file each, all in one folder."""
        root.create_array(
            name,
            shape=(count, *self.shape),
            chunks=(1, *self.shape),
            dtype=dtype,
            fill_value=fill,
            filters=None,
            compressors=codec_of(self.compression, dtype.itemsize),
            chunk_key_encoding={"name": "default", "separator": "."},
            dimension_names=self.dims,
            attributes=attributes,
        )


def _add(
    root: Any, name: str, values: NDArray[Any], dims: tuple[str, ...],
    attributes: Mapping[str, Any] | None = None, fill: Any = None,
) -> None:  # fmt: skip
    """Add a small array."""
    array = root.create_array(
        name,
        shape=values.shape,
        chunks=(_ROW,) if dims == ("frame",) else values.shape,
        dtype="string" if values.dtype == object else values.dtype,
        fill_value=fill,
        dimension_names=dims,
        attributes=dict(attributes or {}),
    )
    if values.size:
        array[...] = values


def _consolidated(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return the files with all metadata in that of the root: who reads it knows all at once.

    Its form is what zarr-python reads and writes; the specification has none yet, and a reader that
    does not know it finds the same in each array's own.
    """
    root = json.loads(files.pop(ROOT))
    arrays = {key: json.loads(files.pop(key)) for key in list(files) if key.endswith(f"/{ROOT}")}
    root["consolidated_metadata"] = {
        "kind": "inline",
        "must_understand": False,
        "metadata": {key.removesuffix(f"/{ROOT}"): one for key, one in arrays.items()},
    }
    texts = {key: json.dumps(one).encode() for key, one in {**arrays, ROOT: root}.items()}
    return {**files, **texts}
