"""Find the images in a file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 - registers the filters that detectors' files use
import numpy as np
from numpy.typing import NDArray

from limadask.errors import ConfigError

HDF5_SUFFIXES = {".h5", ".hdf5", ".hdf", ".nxs", ".nx", ".cxi", ".nx5", ".nexus"}
_LIMA = ("measurement/data", "instrument/*/data")
"""Where Lima1 and Lima2 have the images of an entry."""
_NUMBERED = re.compile(r"data_(\d+)")
_DEEPEST = 8
"""Steps along ``default`` attributes, lest they lead in a circle."""
_ONE = "a file with one image, or ::/dataset behind it"


def split_path(path: str) -> tuple[str, str | None]:
    """Split ``file.h5::/dataset`` into file and dataset."""
    file, _, dataset = path.partition("::")
    return file, dataset or None


def absolute_path(path: str, folder: Path, field: str = "path") -> str:
    """Return ``path`` with its file taken from ``folder`` where it is relative.

    Raises
    ------
    ConfigError
        When it can be no path.
    """
    file, dataset = split_path(path)
    try:
        os.fsencode(file)
        if "\0" in file:
            raise ValueError("embedded null byte")
        whole = str((folder / Path(file).expanduser()).absolute())
    except (RuntimeError, ValueError) as error:  # no such user, or no such characters
        raise ConfigError(
            f"can be no path: {error}", field=field, value=path, allowed="a path of file or folder"
        ) from error
    return whole if dataset is None else f"{whole}::{dataset}"


def is_hdf5(file: str) -> bool:
    """Tell whether a file is HDF5, by its name or else by its content."""
    return Path(file).suffix.lower() in HDF5_SUFFIXES or bool(h5py.is_hdf5(file))


def find_images(file: h5py.File, dataset: str | None = None) -> list[h5py.Dataset]:
    """Return the datasets that hold the images of an HDF5 file, in order.

    Found by the default NXdata signal, by the numbered links ``entry/data/data_000001`` of an
    Eiger master, at the places of Lima1 and Lima2, or as the only dataset with at least two
    dimensions. Numbered links count up to the last that leads somewhere.

    Parameters
    ----------
    file:
        An open file.
    dataset:
        Path of the dataset, or of the NXdata group that holds it, if known.

    Raises
    ------
    ConfigError
        When there is none, or several that might be meant: they are listed.
    """
    name = file.filename
    if dataset is not None:
        found = file.get(dataset)
        images = _images_of(found) if isinstance(found, h5py.Group) else [found]
        if not images or not all(map(_is_image, images)):
            raise _not_found(f"{name} has no image dataset of this name", dataset, file)
        return images
    default = _default_group(file)
    groups = [] if default is file else [default, default.get("data")]
    for group in (*groups, file.get("entry/data")):
        if isinstance(group, h5py.Group) and (images := _images_of(group)):
            return images
    entries = [default] if default is not file else _entries(file)
    for pattern in _LIMA:
        places = _distinct(one for entry in entries for one in _matching(entry, pattern.split("/")))
        if len(places) == 1:
            return list(places.values())
        if places:
            raise _several(name, places)
    places = _all_images(file)
    if len(places) == 1:
        return list(places.values())
    if places:
        raise _several(name, places)
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
            image = _read_hdf5(file, dataset)
        elif Path(file).suffix == ".npy":
            image = np.load(file, allow_pickle=False)
        else:
            import fabio  # here: 8 MB and a tenth of a second that most runs need not pay

            with fabio.open(file) as handle:
                if handle.nframes != 1:
                    raise ConfigError(f"holds {handle.nframes} images", allowed=_ONE)
                image = np.array(handle.data)
    except ConfigError as error:
        raise ConfigError(error.message, field="path", value=path, allowed=error.allowed) from error
    except Exception as error:  # fabio's readers raise whatever they stumble over
        raise ConfigError(
            f"cannot be read: {error}", field="path", value=path,
            allowed="an image in HDF5, npy or a format that fabio reads",
        ) from error  # fmt: skip
    while image.ndim > 3 or (image.ndim == 3 and image.shape[0] == 1):
        if image.shape[0] != 1:
            raise ConfigError(
                f"holds {image.shape[0]} images", field="path", value=path, allowed=_ONE
            )
        image = image[0]
    return image


def _read_hdf5(file: str, dataset: str | None) -> NDArray[Any]:
    with h5py.File(file, "r") as handle:
        images = find_images(handle, dataset)
        shape = images[0].shape
        count = len(images) if len(images) > 1 or len(shape) < 4 else shape[0]
        if count != 1:  # told before all of them are read
            raise ConfigError(f"holds {count} images", allowed=_ONE)
        return np.asarray(images[0][()])


def _default_group(file: h5py.File) -> h5py.Group:
    group: Any = file
    for _ in range(_DEEPEST):
        name = _text(group.attrs.get("default"))
        following = group.get(name) if name else None
        if not isinstance(following, h5py.Group):
            break
        group = following
    return group


def _images_of(group: h5py.Group) -> list[h5py.Dataset]:
    """Return the signal of an NXdata group, its ``data``, or all numbered datasets."""
    signal = _text(group.attrs.get("signal")) or "data"
    found = None if _NUMBERED.fullmatch(signal) else group.get(signal, group.get("data"))
    return [found] if _is_image(found) else _numbered(group)


def _numbered(group: h5py.Group) -> list[h5py.Dataset]:
    """Return ``data_000001``, ``data_000002``, … up to the last link that leads somewhere."""
    matches = sorted(filter(None, map(_NUMBERED.fullmatch, group)), key=lambda one: int(one[1]))
    names = [match[0] for match in matches]
    images = {name: one for name in names if _is_image(one := group.get(name))}
    last = names.index(list(images)[-1]) if images else len(names)
    lost = [name for name in names[:last] if group.get(name) is None]
    if lost:
        raise ConfigError(
            f"{group.file.filename} links to a file that is not there or holds no such data",
            field="path",
            value=", ".join(f"{name} → {_target(group, name)}" for name in lost),
            allowed="the data files beside their master",
        )
    return list(images.values())


def _target(group: h5py.Group, name: str) -> str:
    link = group.get(name, getlink=True)
    return f"{getattr(link, 'filename', '')}::{link.path}"


def _entries(file: h5py.File) -> list[h5py.Group]:
    names = [name for name in file if re.fullmatch(r"entry(_\d+)?", name)]
    return [one for one in map(file.get, names) if isinstance(one, h5py.Group)]


def _matching(group: h5py.Group, parts: list[str]) -> Iterator[tuple[str, h5py.Dataset]]:
    """Yield path and dataset of all images at a place; ``*`` stands for any name."""
    for name in group if parts[0] == "*" else parts[:1]:
        found = group.get(name)
        if len(parts) == 1 and _is_image(found):
            yield f"{group.name}/{name}", found
        elif len(parts) > 1 and isinstance(found, h5py.Group):
            yield from _matching(found, parts[1:])


def _all_images(file: h5py.File) -> dict[str, h5py.Dataset]:
    """Return all images by path, each once; links are followed."""
    seen = {file["/"]}

    def walk(group: h5py.Group, path: str) -> Iterator[tuple[str, h5py.Dataset]]:
        for name in group:
            one, place = group.get(name), f"{path}/{name}"
            if _is_image(one):
                yield place, one
            elif isinstance(one, h5py.Group) and one not in seen:
                seen.add(one)
                yield from walk(one, place)

    return _distinct(walk(file, ""))


def _distinct(places: Iterable[tuple[str, h5py.Dataset]]) -> dict[str, h5py.Dataset]:
    """Return datasets by path, leaving out further links to the same one."""
    found: dict[h5py.Dataset, str] = {}
    for path, one in places:
        found.setdefault(one, path)
    return {path: one for one, path in found.items()}


def _is_image(found: Any) -> bool:
    return isinstance(found, h5py.Dataset) and found.ndim >= 2 and found.dtype.kind in "biufc"


def _text(value: Any) -> str | None:
    """Return a text attribute, however it was written."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, str) else None


def _several(name: str, places: dict[str, h5py.Dataset]) -> ConfigError:
    message = f"{name} holds several datasets that may be meant; name one"
    return ConfigError(message, field="dataset", allowed=_listed(places))


def _not_found(message: str, dataset: str | None, file: h5py.File) -> ConfigError:
    images = _listed(_all_images(file))
    return ConfigError(message, field="dataset", value=dataset, allowed=images)


def _listed(places: dict[str, h5py.Dataset]) -> list[str]:
    return [f"{path} {one.shape}" for path, one in places.items()]


def check_sources(dataset: h5py.Dataset, path: str) -> None:
    """Refuse a virtual dataset without its files: HDF5 would read fill values instead.

    Raises
    ------
    ConfigError
        Naming the files that are not there.
    """
    if not dataset.is_virtual or "HDF5_VDS_PREFIX" in os.environ:
        return
    folder = Path(dataset.file.filename).parent
    names = sorted({source.file_name for source in dataset.virtual_sources()})
    lost = [
        name
        for name in names
        if name != "." and "%" not in name and not (folder / name).exists()
        and not Path(name).exists()
    ]  # fmt: skip
    if lost:
        raise ConfigError(
            f"{path} is made of {len(names)} files, {len(lost)} of which are not there",
            field="path",
            value=", ".join(lost),
            allowed="the data files beside their master",
        )
