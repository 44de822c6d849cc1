"""What the tests draw at random, and the NumPy that they hold the code against.

Nothing here uses the code under test to say what is right.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from limadask.frames import Frames, Spec, Status
from limadask.geometry import Arc, Grid, Polygon, Rect, Roi
from limadask.task import Task
from limadask_tasks import Bin, Crop, Flip, Rotate

Operation = tuple[str, dict[str, Any]]
Shape = tuple[int, int]
DTYPES = ("u1", "u2", "u4", "i2", "i4", "f4")
OFFSETS = 0.13717238, 0.21931551
"""Added to the corners of regions, so that no pixel's centre lies on a border by chance."""

dtypes = st.sampled_from(DTYPES)
seeds = st.integers(0, 2**32 - 1)


def shapes(least: int = 1, most: int = 12) -> st.SearchStrategy[Shape]:
    """Rows and columns."""
    return st.tuples(st.integers(least, most), st.integers(least, most))


@st.composite
def chains(
    draw: st.DrawFn, shape: Shape, bins: bool = True, most: int = 5
) -> tuple[Operation, ...]:
    """Some crops, flips, turns and, if wanted, bins that an image of this shape can bear."""
    kinds = ["crop", "flip", "rotate", *(["bin"] if bins else [])]
    chain: list[Operation] = []
    for kind in draw(st.lists(st.sampled_from(kinds), max_size=most)):
        rows, columns = shape
        if kind == "crop":
            y, x = draw(st.integers(0, rows - 1)), draw(st.integers(0, columns - 1))
            height, width = draw(st.integers(1, rows - y)), draw(st.integers(1, columns - x))
            chain.append((kind, {"y": y, "x": x, "height": height, "width": width}))
            shape = height, width
        elif kind == "flip":
            chain.append((kind, {"axis": draw(st.sampled_from("yx"))}))
        elif kind == "rotate":
            turns = draw(st.integers(-3, 4))
            chain.append((kind, {"turns": turns}))
            shape = (columns, rows) if turns % 2 else shape
        else:
            bin_y, bin_x = draw(st.integers(1, min(rows, 4))), draw(st.integers(1, min(columns, 4)))
            chain.append((kind, {"y": bin_y, "x": bin_x}))
            shape = rows // bin_y, columns // bin_x
    return tuple(chain)


def apply(pixels: NDArray[Any], operation: Operation, reduce: Any = np.sum) -> NDArray[Any]:
    """Do one operation on the last two axes; ``reduce`` makes one of a tile."""
    kind, fields = operation
    if kind == "crop":
        y, x = fields["y"], fields["x"]
        return pixels[..., y : y + fields["height"], x : x + fields["width"]]
    if kind == "flip":
        return np.flip(pixels, -2 if fields["axis"] == "y" else -1)
    if kind == "rotate":
        return np.rot90(pixels, fields["turns"], axes=(-2, -1))
    ny, nx = fields["y"], fields["x"]
    rows, columns = pixels.shape[-2] // ny, pixels.shape[-1] // nx
    cut = pixels[..., : rows * ny, : columns * nx]
    return np.asarray(reduce(cut.reshape(*pixels.shape[:-2], rows, ny, columns, nx), axis=(-3, -1)))


def applied(pixels: NDArray[Any], chain: tuple[Operation, ...], reduce: Any = np.sum) -> Any:
    """Do all operations."""
    for operation in chain:
        pixels = apply(pixels, operation, reduce)
    return pixels


def positions(shape: Shape, chain: tuple[Operation, ...], reduce: Any = np.mean) -> Any:
    """Where the pixels of the image after ``chain`` lie on the detector: ``(2, y, x)``."""
    return applied(np.indices(shape).astype(float), chain, reduce)


def grid_after(shape: Shape, chain: tuple[Operation, ...]) -> Grid:
    """The grid as the code has it."""
    grid = Grid(shape)
    for kind, fields in chain:
        grid = getattr(grid, kind)(**fields)
    return grid


def tasks_of(chain: tuple[Operation, ...]) -> list[Task]:
    """The tasks that do the operations."""
    classes: dict[str, type[Task]] = {"crop": Crop, "flip": Flip, "rotate": Rotate, "bin": Bin}
    return [classes[kind](**fields) for kind, fields in chain]


def image(seed: int, shape: tuple[int, ...], dtype: str, top: int | None = None) -> NDArray[Any]:
    """Random pixels over the whole range of the type, or up to ``top``."""
    random = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return random.normal(100, 50, shape).astype(kind)
    info = np.iinfo(kind)
    high = info.max if top is None else min(top, info.max)
    return random.integers(info.min if top is None else 0, high, shape, kind, endpoint=True)


def block(seed: int, spec: Spec, count: int = 3, first: int = 0, top: int | None = None) -> Frames:
    """Some frames that are as ``spec`` says, masked pixels not yet filled."""
    pixels = image(seed, (count, *spec.frame_shape), spec.dtype.str, top)
    frames = Frames.of(pixels, first)
    frames.timestamps = np.arange(first, first + count, dtype=np.int64) * 1000 + 7
    return frames


def lacking(frames: Frames, missing: dict[int, Any]) -> Frames:
    """The frames as a receiver delivers them."""
    frames.invalid = missing
    for place, number in enumerate(frames.numbers.tolist()):
        if number in missing:
            fill = np.array(np.nan if frames.pixels.dtype.kind == "f" else 65535)
            np.copyto(frames.pixels[place], fill, where=missing[number], casting="unsafe")
            frames.status[place] = Status.PARTIAL
    return frames


rects = st.builds(
    Rect, st.integers(-4, 12), st.integers(-4, 12), st.integers(1, 12), st.integers(1, 12)
)


@st.composite
def arcs(draw: st.DrawFn) -> Arc:
    """An arc on whose border no pixel's centre lies."""
    y, x = draw(st.integers(-4, 14)) + OFFSETS[0], draw(st.integers(-4, 14)) + OFFSETS[1]
    r1 = draw(st.integers(0, 6)) * 1.0173
    a1 = draw(st.integers(-400, 400)) + 0.3171
    return Arc(y, x, r1, r1 + draw(st.integers(1, 8)) * 1.0391, a1, a1 + draw(st.integers(20, 400)))


@st.composite
def polygons(draw: st.DrawFn) -> Polygon:
    """A polygon, convex or not, on whose border no pixel's centre lies."""
    corner = st.tuples(st.integers(-4, 14), st.integers(-4, 14))
    corners = draw(st.lists(corner, min_size=3, max_size=6, unique=True))
    return Polygon(tuple((y + OFFSETS[0], x + OFFSETS[1]) for y, x in corners))


rois: st.SearchStrategy[Roi] = st.one_of(rects, arcs(), polygons())


def inside(roi: Roi, y: NDArray[Any], x: NDArray[Any]) -> NDArray[np.bool_]:
    """Which positions lie in a region, by rules written down here once more."""
    if isinstance(roi, Rect):
        return (roi.y <= y) & (y < roi.y + roi.height) & (roi.x <= x) & (x < roi.x + roi.width)
    if isinstance(roi, Arc):
        vector = (x - roi.x) + 1j * (y - roi.y)
        ring = (np.abs(vector) >= roi.r1) & (np.abs(vector) < roi.r2)
        turned = np.angle(vector * np.exp(-1j * np.radians(roi.a1)), deg=True) % 360
        return ring & (turned < roi.a2 - roi.a1)
    from matplotlib.path import Path

    points = np.stack([y.ravel(), x.ravel()], axis=1)
    closed = Path(np.array([*roi.points, roi.points[0]]))
    return np.asarray(closed.contains_points(points)).reshape(y.shape)


def taken(window: tuple[slice, slice], part: NDArray[np.bool_], shape: Shape) -> NDArray[np.bool_]:
    """The selected pixels as a mask of the whole image."""
    whole = np.zeros(shape, bool)
    whole[window] = part
    return whole
