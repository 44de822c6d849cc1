"""Find the images in a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fabio
import h5py
import hdf5plugin  # noqa: F401 - registers the filters that detectors' files use
import numpy as np
from numpy.typing import NDArray

from limadask.errors import ConfigError

HDF5_SUFFIXES = {".h5", ".hdf5", ".hdf", ".nxs", ".nx", ".cxi", ".nx5", ".nexus"}
_LIMA = (
    "entry_0000/measurement/data",
    "entry_0000/instrument/*/data",
    "entry/measurement/data",
    "entry/instrument/*/data",
)


def split_path(path: str) -> tuple[str, str | None]:
    """Split ``file.h5::/dataset`` into file and dataset."""
    file, separator, dataset = path.partition("::")
    return file, (dataset if separator else None)


def absolute_path(path: str, folder: Path) -> str:
    """Return ``path`` with its file taken from ``folder`` where it is relative."""
    file, dataset = split_path(path)
    whole = str((folder / Path(file).expanduser()).absolute())
    return whole if dataset is None else f"{whole}::{dataset}"


def is_hdf5(file: str) -> bool:
    """Tell whether a file is HDF5, by its name or else by its content."""
    return Path(file).suffix.lower() in HDF5_SUFFIXES or bool(h5py.is_hdf5(file))


def find_images(file: h5py.File, dataset: str | None = None) -> list[h5py.Dataset]:
    """Return the datasets that hold the images of an HDF5 file, in order.

    Found by the default NXdata signal, by the numbered links ``entry/data/data_000001`` of an
    Eiger master, at the places of Lima1 and Lima2, or as the only dataset with at least two
    dimensions.

    Parameters
    ----------
    file:
        An open file.
    dataset:
        Path of the dataset, if known.

    Raises
    ------
    ConfigError
        When there is none, or several that might be meant: they are listed.
    """
    name = file.filename
    if dataset is not None:
        found = file.get(dataset)
        if not isinstance(found, h5py.Dataset) or found.ndim < 2:
            raise _not_found(f"{name} has no image dataset of this name", dataset, file)
        return [found]
    for group in (_default_group(file), file.get("entry/data")):
        if isinstance(group, h5py.Group):
            if images := _signal(group) or _numbered(group):
                return images
    for pattern in _LIMA:
        if images := list(_matching(file, pattern.split("/"))):
            return images[:1]
    images = [one for one in _datasets(file) if one.ndim >= 2]
    if len(images) == 1:
        return images
    if images:
        raise _not_found(f"{name} holds several datasets that may be meant; name one", None, file)
    raise _not_found(f"{name} holds no dataset with two or more dimensions", None, file)


def read_image(path: str) -> NDArray[Any]:
    """Read one image, ``(y, x)`` or ``(band, y, x)``, from HDF5 or any format fabio knows.

    Parameters
    ----------
    path:
        ``file`` or ``file.h5::/dataset``.

    Raises
    ------
    ConfigError
        When the file or the image is not there.
    """
    file, dataset = split_path(path)
    if not Path(file).is_file():
        raise ConfigError("no such file", field="path", value=path, allowed="an existing file")
    try:
        if is_hdf5(file):
            with h5py.File(file, "r") as handle:
                image = find_images(handle, dataset)[0][()]
        elif Path(file).suffix == ".npy":
            image = np.load(file, allow_pickle=False)
        else:
            with fabio.open(file) as handle:
                image = np.array(handle.data)
    except (OSError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"cannot be read: {error}", field="path", value=path) from error
    while image.ndim > 3 or (image.ndim == 3 and image.shape[0] == 1):
        if image.shape[0] != 1:
            raise ConfigError(
                f"holds {image.shape[0]} images, one is needed", field="path", value=path
            )
        image = image[0]
    return image


def _default_group(file: h5py.File) -> h5py.Group:
    group: Any = file
    while isinstance(group, h5py.Group) and "default" in group.attrs:
        following = group.get(group.attrs["default"])
        if following is None or following == group:
            break
        group = following
    return group


def _signal(group: h5py.Group) -> list[h5py.Dataset]:
    signal = group.attrs.get("signal")
    found = group.get(signal) if isinstance(signal, str) else None
    return [found] if isinstance(found, h5py.Dataset) and found.ndim >= 2 else []


def _numbered(group: h5py.Group) -> list[h5py.Dataset]:
    """Return ``data``, or ``data_000001``, ``data_000002``, … as far as the links hold."""
    plain = group.get("data")
    if isinstance(plain, h5py.Dataset) and plain.ndim >= 2:
        return [plain]
    names = sorted(name for name in group if name.startswith("data_"))
    found = [group.get(name) for name in names]
    return [one for one in found if isinstance(one, h5py.Dataset) and one.ndim >= 2]


def _matching(group: h5py.Group, parts: list[str]) -> Iterator[h5py.Dataset]:
    names = list(group) if parts[0] == "*" else [parts[0]]
    for name in names:
        found = group.get(name)
        if len(parts) == 1 and isinstance(found, h5py.Dataset) and found.ndim >= 2:
            yield found
        elif len(parts) > 1 and isinstance(found, h5py.Group):
            yield from _matching(found, parts[1:])


def _datasets(group: h5py.Group) -> Iterator[h5py.Dataset]:
    found: dict[bytes, h5py.Dataset] = {}

    def visit(_: str, one: Any) -> None:
        if isinstance(one, h5py.Dataset):
            found[repr(one.id.__hash__()).encode()] = one

    group.visititems(visit)
    yield from found.values()


def _not_found(message: str, dataset: str | None, file: h5py.File) -> ConfigError:
    images = [f"{one.name} {one.shape}" for one in _datasets(file) if one.ndim >= 2]
    return ConfigError(message, field="dataset", value=dataset, allowed=images)
