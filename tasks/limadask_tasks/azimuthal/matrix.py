"""Which pixels go into which bins, and by which share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array

from limadask_tasks.azimuthal import kernels

Pixels = NDArray[Any]
ROUNDING = 1e-5
"""How far shares that are single-precision numbers may be from adding up to 1."""


@dataclass(frozen=True, slots=True)
class Usable:
    """Which values of pixels are used: finite ones, and none within ``delta`` of ``dummy``."""

    dummy: float = np.nan
    delta: float = 0.0

    def of(self, image: Pixels) -> NDArray[np.bool_]:
        """Return where an image is used."""
        single = image.astype(np.float32)
        with np.errstate(invalid="ignore", over="ignore"):
            is_dummy = np.abs(single - np.float32(self.dummy)) <= np.float32(self.delta)
        return np.asarray(np.isfinite(single) & ~is_dummy)


@dataclass(frozen=True, slots=True)
class Matrix:
    """Bins × pixels, as most pixels need it: a bin, and its share if the next one has the rest.

    Pixels that do not fit this pattern are entries of their own. A pixel takes 2 bytes without
    splitting (4 for more than 32 765 bins), 4 more with it, an entry 12.

    Parameters
    ----------
    nb_bins:
        Number of bins.
    bins, shares:
        Of each pixel: the first of its bins (``nb_bins`` where it has none), and its share in that;
        shares are None where pixels are not split. Both are empty where entries tell all.
    entries:
        Flat indices of pixels, bins, and shares.
    """

    nb_bins: int
    bins: NDArray[Any]
    shares: NDArray[np.float32] | None
    entries: tuple[NDArray[np.int32], NDArray[Any], NDArray[np.float32]]

    @classmethod
    def of(cls, nb_bins: int, data: Any, indices: Any, indptr: Any) -> Matrix:
        """Make one of a sparse matrix by columns (CSC)."""
        columns = csc_array((data, indices, indptr), shape=(nb_bins, len(indptr) - 1))
        columns.sort_indices()
        shares, bins = columns.data.astype(np.float32), columns.indices
        start, count = columns.indptr[:-1], np.diff(columns.indptr)
        kind = np.dtype("i2" if nb_bins + 2 < 1 << 15 else "i4")
        places = np.repeat(np.arange(len(count), dtype=np.int32), count)
        if len(shares) == 0:
            return cls(nb_bins, np.full(len(count), nb_bins, kind), None, _no_entries(kind))
        first = np.minimum(start, len(bins) - 1)
        second = np.minimum(first + 1, len(bins) - 1)
        is_single = (count == 1) & (np.abs(shares[first] - 1) < ROUNDING)
        is_pair = (count == 2) & (bins[second] == bins[first] + 1)
        is_pair &= np.abs(shares[first] + shares[second] - 1) < ROUNDING
        is_plain = is_single | is_pair
        if 2 * is_plain.sum() < (count > 0).sum():
            is_plain[:] = False
            own, parts = np.empty(0, kind), None
        else:
            own = np.where(is_plain, bins[first], nb_bins).astype(kind)
            parts = np.where(is_pair, shares[first], np.float32(1)) if is_pair.any() else None
        left = ~is_plain[places]
        entries = places[left], bins[left].astype(kind), shares[left]
        return cls(nb_bins, own, parts, entries)

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        shares = 0 if self.shares is None else self.shares.nbytes
        return self.bins.nbytes + shares + sum(one.nbytes for one in self.entries)

    def without(self, masked: NDArray[np.bool_]) -> Matrix:
        """Return the matrix without some pixels, given as a flat mask."""
        bins = self.bins
        if bins.size:
            bins = np.where(masked, bins.dtype.type(self.nb_bins), bins)
        places, own, shares = self.entries
        kept = ~masked[places]
        return replace(self, bins=bins, entries=(places[kept], own[kept], shares[kept]))

    def sums(
        self,
        pixels: Pixels,
        band: int = 0,
        *,
        scale: float = 1.0,
        least: float = 0.0,
        variance: bool = True,
        usable: Usable | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Sum pixels and their variances in each bin.

        Parameters
        ----------
        pixels:
            C-contiguous, ``(frame, band, y, x)``.
        band:
            The band to sum.
        scale:
            What pixels are multiplied by.
        least:
            The least variance of a pixel, which else is its value.
        variance:
            Whether variances are wanted; they are 0 otherwise.
        usable:
            Which values are used; None for all.

        Returns
        -------
        tuple of array
            Sums ``(frame, 2, bin)`` of values and variances, and how many pixels of each frame were
            not used: one that has several bins may be counted more than once.
        """
        sums = np.zeros((len(pixels), 2, self.nb_bins + 2))
        unusable = np.zeros(len(pixels), np.int64)
        given = usable or Usable()
        dummy, delta = np.float32(given.dummy), np.float32(given.delta)
        how = (least / scale, variance, usable is not None, dummy, delta)
        if self.bins.size and self.shares is None:
            kernels.scatter(pixels, band, self.bins, *how, sums, unusable)
        elif self.shares is not None:
            kernels.scatter_pairs(pixels, band, self.bins, self.shares, *how, sums, unusable)
        if self.entries[0].size:
            kernels.scatter_entries(pixels, band, *self.entries, *how, sums, unusable)
        return sums[:, :, : self.nb_bins] * scale, unusable


def _no_entries(kind: np.dtype[Any]) -> tuple[Any, Any, Any]:
    return np.empty(0, np.int32), np.empty(0, kind), np.empty(0, np.float32)
