"""The images of the simulator: powder rings with Poisson noise, made from a bank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limadask.frames import fill_value
from limadask.geometry import Rect

LAB6 = 4.1569
"""Lattice constant of LaB6, Å (NIST SRM 660c)."""
WAVELENGTH, DISTANCE, PIXEL = 0.9795, 0.12, 75e-6
"""Å, m, m: 12.66 keV on a detector with EIGER2's pixels."""
_REFLECTIONS = ((1, 6), (2, 12), (3, 8), (4, 6), (5, 24), (6, 24), (8, 12), (9, 30))
"""``h² + k² + l²`` and multiplicity of the reflections of a simple cubic lattice."""
_BANK_NBYTES = 32 << 20
_MIXED = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Scene:
    """What the simulator shows.

    Parameters
    ----------
    shape:
        Rows and columns.
    nb_bands:
        Bands; each next threshold counts a quarter less.
    dtype:
        Type of the pixels.
    modules, gap:
        Modules one above the other, and the rows between them.
    photons:
        Mean count of a pixel.
    hot_pixels:
        Pixels that always count a lot.
    seed:
        Where the noise comes from.
    pattern:
        Colours of the pixels (0, 0), (0, 1), (1, 0) and (1, 1), which see one of three bands each;
        empty where all pixels see all bands.
    """

    shape: tuple[int, int]
    nb_bands: int
    dtype: np.dtype[Any]
    modules: int
    gap: int
    photons: float
    hot_pixels: int
    seed: int
    pattern: str = ""

    def gaps(self) -> NDArray[np.bool_]:
        """Return where no module is, shape ``(y, x)``."""
        rows, columns = self.shape
        mask = np.zeros((rows, columns), bool)
        height = self.module_rows
        for module in range(self.modules - 1):
            start = (module + 1) * height + module * self.gap
            mask[start : start + self.gap] = True
        return mask

    def module_places(self) -> tuple[Rect, ...]:
        """Return where the modules are."""
        rows = self.module_rows
        return tuple(
            Rect(one * (rows + self.gap), 0, rows, self.shape[1]) for one in range(self.modules)
        )

    @property
    def module_rows(self) -> int:
        """Rows of one module."""
        return (self.shape[0] - (self.modules - 1) * self.gap) // self.modules

    @property
    def centre(self) -> tuple[float, float]:
        """Where the direct beam would hit, ``(y, x)``."""
        return self.shape[0] / 2, self.shape[1] / 2

    def rates(self) -> NDArray[np.float32]:
        """Return the mean count of every pixel, shape ``(y, x)``, for the first band."""
        y, x = (axis.astype(np.float32) for axis in np.ogrid[: self.shape[0], : self.shape[1]])
        radius = np.hypot(y - self.centre[0], x - self.centre[1]) * PIXEL
        angle = np.arctan2(radius, DISTANCE)
        image = 0.3 * np.exp(-angle * 3) + 0.05
        for squares, count in _REFLECTIONS:
            sine = WAVELENGTH * np.sqrt(squares) / (2 * LAB6)
            width = 0.0015
            strength = count / np.sqrt(squares) / 6
            image += strength * np.exp(-(((angle - 2 * np.arcsin(sine)) / width) ** 2) / 2)
        rates: NDArray[np.float32] = image * (self.photons / image[~self.gaps()].mean())
        return rates

    def seen(self, colours: NDArray[Any]) -> NDArray[Any]:
        """Return what the pixels see of an image ``(band, y, x)``, dims the same."""
        if not self.pattern:
            return colours
        mosaic = np.empty_like(colours[:1])
        for place, colour in enumerate(self.pattern):
            y, x = divmod(place, 2)
            mosaic[0, y::2, x::2] = colours["rgb".index(colour), y::2, x::2]
        return mosaic

    def hot(self) -> NDArray[np.intp]:
        """Return the flat indices of the hot pixels."""
        valid = np.flatnonzero(~self.gaps())
        random = np.random.default_rng((self.seed, 1))
        return random.choice(valid, min(self.hot_pixels, valid.size), replace=False)


class Bank:
    """Makes frame *i* as a function of the scene and *i* alone, at the speed of a copy.

    A few frames are drawn in full; frame *i* is one of them plus photons at places that only
    *i* decides.

    Parameters
    ----------
    scene:
        What is shown.
    growth:
        Photons more with every frame number.
    """

    extra = 32

    def __init__(self, scene: Scene, growth: float = 0.0) -> None:
        self._scene, self._growth = scene, growth
        nbytes = scene.nb_bands * scene.shape[0] * scene.shape[1] * scene.dtype.itemsize
        count = int(np.clip(_BANK_NBYTES // nbytes, 2, 16))
        gaps = scene.gaps()
        self._valid = np.flatnonzero(~gaps)
        frames = []
        top = np.iinfo(scene.dtype).max - 1 if scene.dtype.kind in "iu" else None
        rates, hot = scene.rates(), scene.hot()
        for number in range(count):
            frame = np.empty((scene.nb_bands, *scene.shape), scene.dtype)
            random = np.random.default_rng((scene.seed, 2, number))
            for band, image in enumerate(frame):
                counts = random.poisson(rates * 0.75**band)
                counts.flat[hot] += random.poisson(100, hot.size)
                image[...] = counts if top is None else np.minimum(counts, top)
                image[gaps] = fill_value(scene.dtype)
            frames.append(scene.seen(frame))
        self._frames = np.stack(frames)

    def blank(self) -> NDArray[Any]:
        """Return an empty frame, shape ``(band, y, x)``."""
        return np.empty(self._frames.shape[1:], self._frames.dtype)

    def fill(self, index: int, out: NDArray[Any], region: Rect | None = None) -> None:
        """Write frame ``index``, or a region of it, into ``out``, ``(band, y, x)``."""
        frame, places = self._frames[index % len(self._frames)], self.places(index)
        if region is not None:
            y, x = (
                one - start
                for one, start in zip(
                    np.divmod(places, self._scene.shape[1]), (region.y, region.x), strict=True
                )
            )
            inside = (y >= 0) & (y < region.height) & (x >= 0) & (x < region.width)
            places = y[inside] * region.width + x[inside]
            frame = frame[
                :, region.y : region.y + region.height, region.x : region.x + region.width
            ]
        np.copyto(out, frame)
        flat = out.reshape(len(out), -1)
        kind = self._scene.dtype
        top = np.inf if kind.kind == "f" else np.iinfo(kind).max - 1  # the maximum is "no value"
        for image in flat:
            values = image[places]
            image[places] = np.where(values < top, values + 1, values)

    def places(self, index: int) -> NDArray[np.intp]:
        """Return the flat indices of the photons that make frame ``index`` unlike the others."""
        count = self.extra + int(self._growth * index)
        with np.errstate(over="ignore"):  # splitmix64
            seed = np.uint64((self._scene.seed * 0x632BE5AB + index * 0x10001 + 1) % 2**64)
            mixed = (np.arange(count, dtype=np.uint64) + seed * np.uint64(count + 1)) * _MIXED
            mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            mixed ^= mixed >> np.uint64(27)
        return self._valid[(mixed % np.uint64(self._valid.size)).astype(np.intp)]
