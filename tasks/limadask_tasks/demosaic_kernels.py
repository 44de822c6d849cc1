"""Compiled demosaicing: no GIL, every frame read once.

The rows around the one in work are kept as floats, with NaN for whatever holds no value: what lies
outside the image, masked pixels, and NaN itself. So edges and holes are one thing, and the filters
need not look out for them: what they yield is NaN there, and only that is done with care.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]
_compiled = njit(nogil=True, cache=True, error_model="numpy")

REACH = 2
"""Pixels that the filters reach to each side."""
_ROWS = 2 * REACH + 1


@_compiled
def demosaic(
    pixels: Array,
    masked: Array,
    red: Array,
    malvar: bool,
    units: Array,
    rounds: bool,
    low: Any,
    high: Any,
    fill: Any,
    out: Array,
) -> None:
    """Make frames ``(frame, 3, y, x)`` – red, green, blue – of mosaics ``(frame, 1, y, x)``.

    Parameters
    ----------
    masked:
        Which pixels hold no value, ``(y, x)``.
    red:
        ``(y, x)`` of the first red pixel, each 0 or 1.
    malvar:
        Whether to use the filters of Malvar, He and Cutler, else bilinear ones.
    units:
        A one of the type that is computed in.
    rounds, low, high:
        Whether results are rounded, and to what they are cut then.
    fill:
        What stands for no value.
    """
    rows, columns = pixels.shape[2], pixels.shape[3]
    window = np.empty((_ROWS, columns + 2 * REACH), units.dtype)
    near, far = np.empty(columns, units.dtype), np.empty(columns, units.dtype)
    odd = np.empty(_ROWS, np.bool_)
    for f in range(pixels.shape[0]):
        image = pixels[f, 0]
        window[:], odd[:] = np.nan, True
        for y in range(-REACH, rows):
            ahead = y + REACH
            slot = ahead % _ROWS
            odd[slot] = ahead >= rows or _load(image[ahead], masked[ahead], window[slot])
            if ahead >= rows:
                window[slot] = np.nan
            if y < 0:
                continue
            lines = (
                window[(y - 2) % _ROWS], window[(y - 1) % _ROWS], window[y % _ROWS],
                window[(y + 1) % _ROWS], window[slot],
            )  # fmt: skip
            is_red = y % 2 == red[0]
            site = red[1] if is_red else 1 - red[1]  # of the row's own red or blue
            if malvar:
                _malvar(lines, site, units[0], near, far)
            else:
                _bilinear(lines, site, units[0], near, far)
            own, other = out[f, 0 if is_red else 2, y], out[f, 2 if is_red else 0, y]
            green = out[f, 1, y]
            planes = own, green, other
            _store(image[y], site, near, far, units[0], rounds, low, high, planes)
            if odd.any():
                sides = (0, columns), (columns, columns)
            else:  # what lies outside is the only thing that has no value
                sides = (0, min(REACH, columns)), (max(REACH, columns - REACH), columns)
            for first, last in sides:
                _mend(
                    image[y], lines, site, near, far, units[0], rounds, low, high, fill,
                    first, last, planes,
                )  # fmt: skip


@_compiled
def _load(row: Array, masked: Array, line: Array) -> bool:
    """Put a row into the window; tell whether some of it holds no value."""
    odd = False
    for x in range(row.size):
        line[x + 2] = row[x]
        odd |= masked[x] | (row[x] != row[x])
    if odd:
        for x in range(row.size):
            if masked[x]:
                line[x + 2] = np.nan
    return odd


@_compiled
def _bilinear(lines: Any, site: int, one: Any, near: Array, far: Array) -> None:
    """Compute the two colours of each pixel that are not its own.

    ``near`` is what comes from pixels beside it in its row – green, or at green pixels the row's
    red or blue –, ``far`` the third colour.
    """
    _, above, here, below, _ = lines
    half = one / (one + one)
    quarter = half * half
    for x in range(near.size):
        sides, ends = here[x + 1] + here[x + 3], above[x + 2] + below[x + 2]
        corners = (above[x + 1] + above[x + 3]) + (below[x + 1] + below[x + 3])
        if x & 1 == site:
            near[x], far[x] = (sides + ends) * quarter, corners * quarter
        else:
            near[x], far[x] = sides * half, ends * half


@_compiled
def _malvar(lines: Any, site: int, one: Any, near: Array, far: Array) -> None:
    """Compute the same by the linear filters of Malvar, He and Cutler (2004), figure 2."""
    top, above, here, below, bottom = lines
    two = one + one
    three, four = two + one, two + two
    five, six, half = four + one, three + three, one / two
    eighth = half * half * half
    for x in range(near.size):
        centre = here[x + 2]
        sides, ends = here[x + 1] + here[x + 3], above[x + 2] + below[x + 2]
        corners = (above[x + 1] + above[x + 3]) + (below[x + 1] + below[x + 3])
        across, along = here[x] + here[x + 4], top[x + 2] + bottom[x + 2]
        if x & 1 == site:
            around = across + along
            near[x] = (four * centre + two * (sides + ends) - around) * eighth
            far[x] = (six * centre + two * corners - (one + half) * around) * eighth
        else:
            base = five * centre - corners
            near[x] = (base + four * sides - across + half * along) * eighth
            far[x] = (base + four * ends - along + half * across) * eighth


@_compiled
def _store(
    row: Array, site: int, near: Array, far: Array, one: Any, rounds: bool, low: Any, high: Any,
    planes: Any,
) -> None:  # fmt: skip
    """Write a row of the row's own colour, of green and of the third one."""
    own, green, other = planes
    for x in range(row.size):
        beside, third = near[x], far[x]
        if rounds:
            beside, third = _rounded(beside, one, low, high), _rounded(third, one, low, high)
        is_site, made = x & 1 == site, own.dtype.type(beside)
        own[x] = row[x] if is_site else made  # of one type, lest what is copied becomes a float
        green[x] = made if is_site else row[x]
        other[x] = third


@_compiled
def _rounded(value: Any, one: Any, low: Any, high: Any) -> Any:
    """Return the nearest integer from ``low`` to ``high``; halves go up."""
    value = np.floor(value + one / (one + one))
    value = value if value > low else low  # so NaN, which no integer can be, is low
    return value if value < high else high


@_compiled
def _mend(
    row: Array, lines: Any, site: int, near: Array, far: Array, one: Any, rounds: bool, low: Any,
    high: Any, fill: Any, first: int, last: int, planes: Any,
) -> None:  # fmt: skip
    """Write pixels anew where a filter has reached for a value that is not there.

    They become the mean of the nearest pixels of that colour that have a value, or hold none.
    """
    _, above, here, below, _ = lines
    own, green, other = planes
    for x in range(first, last):
        if here[x + 2] != here[x + 2]:
            own[x] = green[x] = other[x] = fill
            continue
        is_site = x & 1 == site
        beside, third = near[x], far[x]
        sides = here[x + 1], here[x + 3]
        ends = above[x + 2], below[x + 2]
        if beside != beside:
            beside = _mean(sides + ends if is_site else sides + sides, one)
        if third != third:
            corners = above[x + 1], above[x + 3], below[x + 1], below[x + 3]
            third = _mean(corners if is_site else ends + ends, one)
        target = green if is_site else own
        if beside != beside:
            target[x] = fill
        else:
            target[x] = _rounded(beside, one, low, high) if rounds else beside
        if third != third:
            other[x] = fill
        else:
            other[x] = _rounded(third, one, low, high) if rounds else third


@_compiled
def _mean(values: Any, one: Any) -> Any:
    """Return the mean of those that are no NaN, NaN if all are."""
    total, count = one - one, one - one
    for value in values:
        if value == value:
            total += value
            count += one
    return total / count
