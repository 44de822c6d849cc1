"""The master file: all data files of a run as one, with everything known of it, in NeXus.

Made in memory, written at a temporary place, then moved: it is there whole or not at all, and a
disk that is full leaves no HDF5 file half open.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from limadask.frames import NEVER, Mosaic, Spec, Status
from limadask.ledger import Failed
from limadask.storage.alone import alone
from limadask.storage.entry import DATA, ENTRY, VALIDITY
from limadask.storage.fates import saved_fates
from limadask.storage.nexus import field, group, iso, tree
from limadask.storage.nxdetector import write_columns, write_described
from limadask.storage.nxlog import write_logs
from limadask.storage.nxproducts import ProductData
from limadask.storage.nxrun import write_run
from limadask.storage.nxsample import write_sample
from limadask.storage.nxsparse import SPARSE, SparseData
from limadask.storage.parts import Contents, read_contents
from limadask.task import Products, RunRecord
from limadask.version import __version__

_KEV_ANGSTROM = 12.398419843320026
"""Energy of a photon in keV times its wavelength in Å (CODATA 2018, exact)."""


def write_master(
    path: Path,
    node: str,
    spec: Spec | Products,
    files: list[str],
    run: RunRecord,
    *,
    always_4d: bool = False,
    mosaic: Mosaic | None = None,
    entry: str = ENTRY,
) -> str:
    """Write the master file over the data files of one saver; return the name of its entry.

    Where the file exists an entry is added, or that of the same run and node replaced: whoever does
    not want to keep it removes it before the run, since others may end, and write it, meanwhile.

    Data files that cannot be read are left out: their frames are absent.

    Parameters
    ----------
    path:
        The master file; the data files lie in the same folder.
    node:
        The saver's node.
    spec:
        The frames that it got, or the by-products.
    files:
        The data files.
    run:
        What is known of the run.
    always_4d:
        Whether one band keeps its axis.
    mosaic:
        How the parts in the files make full frames; None where they hold such.
    entry:
        Name of the saver's entry in the data files; where the master has one of this name, of
        another run, it is numbered on.

    Raises
    ------
    OSError
        When it cannot be written.
    """
    products = spec if isinstance(spec, Products) else None
    whole = spec.of if isinstance(spec, Products) else spec
    if whole is None:
        raise TypeError("by-products of nobody knows what")
    mosaic = mosaic or Mosaic.of(whole, [whole])
    contents = read_contents([Path(file) for file in files], len(mosaic.regions), entry)
    with alone(path.parent):
        return _write(path, node, mosaic, products, contents, run, always_4d, entry, files)


def _write(
    path: Path,
    node: str,
    mosaic: Mosaic,
    products: Products | None,
    contents: Contents,
    run: RunRecord,
    always_4d: bool,
    entry: str,
    files: Sequence[str],
) -> str:
    mode = "r+" if path.exists() else "w"
    with h5py.File(path, mode, driver="core", backing_store=False, block_size=1 << 20) as file:
        name = _free_name(file, run.uuid, node, entry)
        file.attrs.update(
            NX_class="NXroot",
            default=_default(file, run.uuid) or name,
            creator=f"limadask {__version__}",
            file_name=path.name,
            file_time=iso(run.ended),
            NeXus_release="v2024.02",
        )
        _Entry(file, name, entry, node, mosaic, products, contents, run, always_4d, files).write()
        if SPARSE in file[file.attrs["default"]]:  # fabio looks at this name alone
            file.attrs["creator"] = f"pyFAI's sparse layout, by limadask {__version__}"
        file.flush()
        image = file.id.get_file_image()
    _replace(path, image)
    return name


def _free_name(file: h5py.File, uuid: str, node: str, entry: str) -> str:
    """Return the name of a saver's entry for a run, free to be written."""
    for name, one in saved_entries(file):
        if one == (uuid, node):
            del file[name]  # of a worker that died before it could say so
            return name
    name, number = entry, 1
    while name in file:
        number += 1
        name = f"{entry}_{number}"
    return name


def _default(file: h5py.File, uuid: str) -> str | None:
    """Return the default entry, where a saver of the same run has written it before."""
    default = file.attrs.get("default")
    return next(
        (name for name, (known, _) in saved_entries(file) if (name, known) == (default, uuid)), None
    )


def saved_entries(file: h5py.File) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield the entries of a master: name, and acquisition and node that they are of."""
    for name, entry in file.items():
        if isinstance(entry, h5py.Group) and "entry_identifier" in entry:
            uuid, node = (
                str(entry[one].asstr()[()]) for one in ("entry_identifier", "process/node")
            )
            yield name, (uuid, node)


def _replace(path: Path, content: bytes) -> None:
    """Write a file as a whole, in place of one that may be there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "xb", buffering=0) as file:
            while content:
                content = content[file.write(content) :]
            os.fsync(file.fileno())  # some file systems tell only now that they are full
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from error


COLOURS = ("red", "green", "blue"), ("red", "green", "blue", "alpha")
"""Bands that make a colour image together."""


class _Entry:
    """One run in a master file."""

    def __init__(
        self,
        file: h5py.File,
        name: str,
        saved_as: str,
        node: str,
        mosaic: Mosaic,
        products: Products | None,
        contents: Contents,
        run: RunRecord,
        always_4d: bool,
        files: Sequence[str],
    ) -> None:
        spec = self._spec = mosaic.whole
        self._saved_as, self._products, self._files = saved_as, products, files
        self._node, self._mosaic, self._contents, self._run = node, mosaic, contents, run
        self._entry = group(file, name, "NXentry", default="data")
        self._count = -(-run.nb_frames // spec.nb_merged)
        if len(contents.numbers):  # what is in the files is shown, whatever the ledger knows
            self._count = max(self._count, int(contents.numbers[-1]) + 1)
        self._has_bands = always_4d or len(spec.bands) > 1
        self._status, self._cause = saved_fates(contents, run.ledger, self._count, spec.nb_merged)

    def write(self) -> None:
        """Write everything."""
        run, entry = self._run, self._entry
        field(entry, "title", f"limadask acquisition {run.uuid}")
        field(entry, "entry_identifier", run.uuid)
        field(entry, "start_time", iso(run.started))
        field(entry, "end_time_estimated", iso(run.ended))
        if run.state == "done":
            field(entry, "end_time", iso(run.ended))
        field(entry, "run_state", run.state)
        if run.error:
            field(entry, "error", run.error)
        told = run.detector
        if self._products is None and told.get("wavelength") and told.get("distance"):
            field(entry, "definition", "NXmx", version="1.5")
        write_sample(entry, run, self._count, self._spec.nb_merged)
        source = group(entry, "source", "NXsource")
        field(source, "name", str(run.metadata.get("source", "unknown")))
        if self._products is None:
            self._write_instrument()
            if self._spec.is_sparse:
                sparse = SparseData(entry, self._spec, self._contents, self._saved_as, self._count)
                self._write_fates(sparse.write())
            else:
                self._write_data()
                self._write_colours()
        elif self._products.running is not None:
            write_run(entry, self._products, self._files, self._saved_as)
        else:
            shown = self._products, self._contents, self._saved_as, self._count
            self._write_fates(ProductData(entry, *shown).write())
        tree(entry, "parameters", run.parameters)
        tree(entry, "metadata", run.metadata)
        process = group(entry, "process", "NXprocess")
        field(process, "program", "limadask")
        field(process, "node", self._node)
        field(process, "version", __version__)
        field(process, "date", iso(run.ended))
        tree(process, "workers", {"processors": run.workers, "receivers": run.receivers})
        if len(run.ledger.failures):
            failures = group(process, "failures", "NXcollection")
            for name in Failed._fields:
                failures[name] = [getattr(one, name) for one in run.ledger.failures]
            field(failures, "more", run.ledger.failures.more)
        write_logs(entry, run)

    def _write_instrument(self) -> None:
        run, told = self._run, self._run.detector
        instrument = group(self._entry, "instrument", "NXinstrument")
        field(instrument, "name", str(run.metadata.get("instrument", "unknown")))
        if told.get("wavelength"):
            beam = group(instrument, "beam", "NXbeam")
            field(beam, "incident_wavelength", told["wavelength"], units="angstrom")
            energy = _KEV_ANGSTROM / told["wavelength"]
            field(beam, "incident_energy", energy, units="keV")
        detector = group(instrument, "detector", "NXdetector")
        self._write_frames(detector, "data", 4 if self._has_bands else 3)
        write_described(detector, told, run.parameters, self._spec)
        write_columns(detector, self._contents, self._spec, self._count)
        if self._spec.masked is not None:
            masked = self._spec.masked
            mask = masked if masked.ndim == 2 else np.asarray(masked.all(axis=0))
            detector.create_dataset("pixel_mask", data=mask.astype("u4"), compression="gzip")
            if masked.ndim == 3:  # NXmx knows one mask for all bands
                every = masked.astype("u4")
                detector.create_dataset("band_pixel_mask", data=every, compression="gzip")
        self._write_validity(detector)
        self._write_geometry(detector)
        tree(detector, "detector_information", told)

    def _write_validity(self, detector: h5py.Group) -> None:
        """Write which pixels single frames lack: only for frames that do."""
        contents, bands = self._contents, len(self._spec.bands)
        told = [one.numbers for one in contents.lacking]
        told += [one.numbers for one in contents.missing]
        numbers = np.unique(np.concatenate(told)) if told else np.empty(0, int)
        if not len(numbers):
            return
        validity = group(detector, "validity", "NXcollection")
        field(validity, "frame_number", numbers)
        shape = len(numbers), *self._spec.frame_shape
        layout = h5py.VirtualLayout(shape, "u1")
        for lacking in contents.lacking:
            y, x = self._mosaic.places[lacking.part]
            stored = len(lacking.numbers), bands, y.stop - y.start, x.stop - x.start
            place = f"{self._saved_as}/{VALIDITY}/invalid"
            source = h5py.VirtualSource(lacking.path.name, place, stored)
            for row, slot, count in _runs(np.searchsorted(numbers, lacking.numbers)):
                layout[row : row + count, :, y, x] = source[slot : slot + count]
        if any(len(one.numbers) for one in contents.missing):
            # never written: it takes no room, and reads as 1
            ones = validity.create_dataset(
                "missing_part", shape, "u1", chunks=(1, *shape[1:]), fillvalue=1
            )
            for missing in contents.missing:
                y, x = self._mosaic.places[missing.part]
                for row, _, count in _runs(np.searchsorted(numbers, missing.numbers)):
                    part = h5py.VirtualSource(ones)[row : row + count, :, y, x]
                    layout[row : row + count, :, y, x] = part
        validity.create_virtual_dataset("invalid", layout)

    def _write_geometry(self, detector: h5py.Group) -> None:
        """Write where the pixels are: NeXus axes for the module, and the exact matrix."""
        grid, told = self._spec.grid, self._run.detector
        height, width = told.get("pixel_size") or (1.0, 1.0)
        transform = group(detector, "image_transform", "NXcollection")
        matrix = grid.affine.as_array()
        field(transform, "matrix", matrix, comment="(y, x, 1) of this image to the detector's")
        field(transform, "inverse", (~grid.affine).as_array())
        field(transform, "source_shape", told["shape"])
        axes = group(detector, "transformations", "NXtransformations")
        move = {"transformation_type": "translation", "units": "m", "offset": (0.0, 0.0, 0.0)}
        distance = float(told.get("distance") or 0.0)
        field(axes, "distance", distance, **move, vector=(0.0, 0.0, 1.0), depends_on=".")
        axis = f"{axes.name}/distance"
        field(detector, "depends_on", axis)
        module = group(detector, "module", "NXdetector_module")
        field(module, "data_origin", np.array((0, 0)))
        field(module, "data_size", np.array(grid.shape))
        # NeXus' laboratory: x to the left seen from the source, y up; rows run down
        centre = told.get("beam_centre") or (0.0, 0.0)
        corner = np.array(grid(0.0, 0.0)) - centre
        offset = (-corner[1] * width, -corner[0] * height, 0.0)
        for name, column in (("slow_pixel_direction", 0), ("fast_pixel_direction", 1)):
            dy, dx = matrix[0, column] * height, matrix[1, column] * width
            length = float(np.hypot(dy, dx))
            vector = (-dx / length, -dy / length, 0.0)
            last = "fast" in name
            if told.get("pixel_size"):  # of this image: binned, turned
                field(detector, "x_pixel_size" if last else "y_pixel_size", length, units="m")
            field(
                module,
                name,
                length,
                transformation_type="translation",
                units="m",
                vector=vector,
                offset=offset if last else (0.0, 0.0, 0.0),
                depends_on=f"{module.name}/slow_pixel_direction" if last else axis,
            )
        field(detector, "beam_center_y", (~grid)(*centre)[0], units="pixel")
        field(detector, "beam_center_x", (~grid)(*centre)[1], units="pixel")

    def _write_data(self) -> None:
        """Write the default plot, and one more for each band."""
        signal = "images" if self._has_bands else "data"
        data = group(self._entry, "data", "NXdata", signal=signal)
        if self._has_bands:
            self._write_frames(data, "images", 4)
            data["band"] = np.array(self._spec.bands, h5py.string_dtype())
        self._write_frames(data, "data", 3)
        self._write_scales(data)
        data.attrs["axes"] = ["frame", "band", "y", "x"] if self._has_bands else ["frame", "y", "x"]
        if self._has_bands:
            for band, title in enumerate(self._spec.bands):
                slug = re.sub(r"\W+", "_", title)
                while f"data_{slug}" in self._entry:  # another band differs by punctuation alone
                    slug += "_"
                one = group(self._entry, f"data_{slug}", "NXdata", signal="data", title=title)
                self._write_frames(one, "data", 3, band)
                self._write_scales(one)
                one.attrs["axes"] = ["frame", "y", "x"]
        self._write_fates(data)

    def _write_fates(self, data: h5py.Group) -> None:
        """Write what became of each frame."""
        flags = {
            "flag_values": np.array([int(one) for one in Status], "u1"),
            "flag_meanings": " ".join(one.name.lower() for one in Status),
        }
        stamps = np.full(self._count, NEVER)
        stamps[self._contents.numbers] = self._contents.timestamps
        units = "nanoseconds since 1970-01-01"
        for name, values, attributes in (
            ("frame_status", self._status, flags),
            ("frame_cause", self._cause, {}),
            ("timestamp", stamps, {"units": units, "calendar": "proleptic_gregorian"}),
        ):
            dataset = data.create_dataset(name, data=values, compression="gzip", shuffle=True)
            dataset.dims[0].attach_scale(data["frame"])
            dataset.attrs.update(attributes)

    def _write_scales(self, data: h5py.Group) -> None:
        rows, columns = self._spec.grid.shape
        for name, size in (("frame", self._count), ("y", rows), ("x", columns)):
            data[name] = np.arange(size)
        for name in ("frame", "band", "y", "x"):
            if name in data:
                data[name].make_scale(name)
        for dataset in (data.get("images"), data.get("data")):
            if dataset is not None:
                names = ("frame", "band", "y", "x") if dataset.ndim == 4 else ("frame", "y", "x")
                for axis, name in enumerate(names):
                    dataset.dims[axis].attach_scale(data[name])

    def _write_frames(self, parent: h5py.Group, name: str, ndim: int, band: int = 0) -> None:
        """Write a virtual dataset over the data files; absent frames read as the fill value."""
        spec = self._spec
        shape = spec.frame_shape if ndim == 4 else spec.grid.shape
        layout = h5py.VirtualLayout((self._count, *shape), spec.dtype)
        for piece in self._contents.pieces:
            y, x = self._mosaic.places[piece.part]
            stored = (y.stop - y.start, x.stop - x.start)
            bands = (len(spec.bands),) if self._has_bands else ()
            shape = (piece.length, *bands, *stored)
            source = h5py.VirtualSource(piece.path.name, f"{self._saved_as}/{DATA}", shape)
            part = source[piece.slot : piece.slot + piece.count]
            if ndim == 3 and self._has_bands:
                part = source[piece.slot : piece.slot + piece.count, band]
            layout[piece.first : piece.first + piece.count, ..., y, x] = part
        dataset = parent.create_virtual_dataset(name, layout, fillvalue=spec.fill)
        dataset.attrs["interpretation"] = "image"
        if spec.pattern:
            dataset.attrs["pattern"] = spec.pattern

    def _write_colours(self) -> None:
        """Write red, green and blue once more, last along the pixels, as viewers show colours."""
        spec, count = self._spec, self._count
        if spec.bands not in COLOURS:
            return
        colour = group(self._entry, "colour", "NXdata", signal="data", title="colour")
        layout = h5py.VirtualLayout((count, *spec.grid.shape, len(spec.bands)), spec.dtype)
        for piece in self._contents.pieces:
            y, x = self._mosaic.places[piece.part]
            stored = piece.length, len(spec.bands), y.stop - y.start, x.stop - x.start
            source = h5py.VirtualSource(piece.path.name, f"{self._saved_as}/{DATA}", stored)
            for band in range(len(spec.bands)):
                part = source[piece.slot : piece.slot + piece.count, band]
                layout[piece.first : piece.first + piece.count, y, x, band] = part
        colours = colour.create_virtual_dataset("data", layout, fillvalue=spec.fill)
        colours.attrs["interpretation"] = "rgba-image"
        for name, values in (
            ("frame", np.arange(count)),
            ("y", np.arange(spec.grid.shape[0])),
            ("x", np.arange(spec.grid.shape[1])),
            ("band", np.array(spec.bands, h5py.string_dtype())),
        ):
            colour[name] = values
            colour[name].make_scale(name)
        for axis, name in enumerate(("frame", "y", "x", "band")):
            colours.dims[axis].attach_scale(colour[name])
        colour.attrs["axes"] = ["frame", "y", "x", "band"]


def _runs(rows: NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
    """Yield runs of rows that follow each other: first row, its place among all, and how many."""
    starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
    for start, stop in pairwise([*starts.tolist(), len(rows)]):
        yield int(rows[start]), start, stop - start
