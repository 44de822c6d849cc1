"""The master file: all data files of a run as one, with everything known of it, in NeXus.

Made in memory, written at a temporary place, then moved: it is there whole or not at all, and a
disk that is full leaves no HDF5 file half open.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np

from limadask.frames import NEVER, Mosaic, Spec, Status
from limadask.ledger import Failed
from limadask.storage.alone import alone
from limadask.storage.entry import ENTRY
from limadask.storage.fates import saved_fates
from limadask.storage.nexus import field, group, iso, tree
from limadask.storage.nxdetector import write_columns, write_described
from limadask.storage.nxframes import FrameData
from limadask.storage.nxgeometry import write_geometry
from limadask.storage.nxlog import write_logs
from limadask.storage.nxproducts import ProductData
from limadask.storage.nxrun import write_run
from limadask.storage.nxsample import write_sample
from limadask.storage.nxsparse import SPARSE, SparseData
from limadask.storage.nxvalidity import write_validity
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
        has_bands = always_4d or len(spec.bands) > 1
        self._frames = FrameData(self._entry, mosaic, contents, saved_as, self._count, has_bands)
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
                self._write_fates(self._frames.write())
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
        if not self._spec.is_sparse:
            self._frames.write_beside(detector)
        write_described(detector, told, run.parameters, self._spec)
        write_columns(detector, self._contents, self._spec, self._count)
        if self._spec.masked is not None:
            masked = self._spec.masked
            mask = masked if masked.ndim == 2 else np.asarray(masked.all(axis=0))
            detector.create_dataset("pixel_mask", data=mask.astype("u4"), compression="gzip")
            if masked.ndim == 3:  # NXmx knows one mask for all bands
                every = masked.astype("u4")
                detector.create_dataset("band_pixel_mask", data=every, compression="gzip")
        write_validity(detector, self._mosaic, self._contents, self._saved_as)
        write_geometry(detector, self._spec.grid, told)
        tree(detector, "detector_information", told)

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
