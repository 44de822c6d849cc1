"""Bragg peaks and their background, against pyFAI, fabio, and what was put in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fabio
import numpy as np
import pytest
from numpy.typing import NDArray
from pyFAI.integrator.azimuthal import AzimuthalIntegrator
from sparse_frames import shown

import limadask as ld
from limadask.frames import Spec
from limadask.geometry import Grid
from limadask_tasks import Crop, Densify, Flip, Mask, SaveHdf5, SigmaClip, SparsifyBragg

SHAPE = 180, 160
AI = AzimuthalIntegrator(0.1, 0.009, 0.0085, detector="", wavelength=1e-10)
AI.detector.pixel1 = AI.detector.pixel2 = 1e-4
AI.detector.max_shape = SHAPE
PONI: dict[str, Any] = dict(AI.get_config())
RADIUS = AI.center_array(SHAPE, "r_mm")
SPOTS = [(20, 30), (100, 150), (60, 61), (171, 12)]


def frames(count: int, seed: int = 0) -> NDArray[Any]:
    """A powder-like background of counts with bright spots of 3 × 3 pixels."""
    random = np.random.default_rng(seed)
    level = 40 + 30 * np.exp(-(((RADIUS - 6) / 2.5) ** 2))
    pixels = random.poisson(level, (count, 1, *SHAPE)).astype("u2")
    for y, x in SPOTS:
        pixels[:, 0, y - 1 : y + 2, x - 1 : x + 2] += 500
    return pixels


def pipeline(*tasks: Any) -> ld.Pipeline:
    pipe = ld.Pipeline()
    before = "input"
    for number, task in enumerate(tasks):
        pipe.add(f"n{number}", task, after=before)
        before = f"n{number}"
    return pipe


def test_the_spots_are_kept_and_little_else() -> None:
    pixels = frames(3)
    task = SparsifyBragg(poni=PONI, npt=80, cutoff=5)
    found = ld.process(pixels, pipeline(task))["n0"]
    kept = shown(found.data)
    is_spot = np.zeros(SHAPE, bool)
    for y, x in SPOTS:
        is_spot[y - 1 : y + 2, x - 1 : x + 2] = True
    assert (kept[:, :, is_spot] == pixels[:, :, is_spot]).all()
    assert np.count_nonzero(kept[:, :, ~is_spot]) < 30  # 5 σ of a Poisson tail


def test_what_is_kept_is_above_the_background_of_pyfai() -> None:
    pixels = frames(2, seed=3)
    task = SparsifyBragg(poni=PONI, npt=60, cutoff=3, noise=2)
    clip = SigmaClip(poni=PONI, npt=60, unit="r_mm", correct_solid_angle=False)
    found = ld.process(pixels, pipeline(task))["n0"]
    told = ld.process(pixels, pipeline(clip))["n0"]
    kept = shown(found.data)
    for number in range(2):
        one = told.isel(frame=number, band=0)
        mean = np.interp(RADIUS, one["radial"], one["intensity"])
        spread = np.interp(RADIUS, one["radial"], one["std"])
        excess = pixels[number, 0] - mean - np.maximum(2, 3 * spread)
        sure = np.abs(excess) > 1e-2
        assert ((kept[number, 0] > 0) == (excess > 0))[sure].all()


@pytest.mark.parametrize("noise", [False, True])
def test_fabio_makes_the_same_frames(tmp_path: Path, noise: bool) -> None:
    pixels = frames(5)
    mask = np.zeros(SHAPE, "u1")
    mask[40:44] = 1
    pipe = ld.Pipeline()
    pipe.add("masked", Mask(mask))
    pipe.add("peaks", SparsifyBragg(poni=PONI, npt=90, cutoff=4), after="masked")
    pipe.add("file", SaveHdf5(folder=str(tmp_path)), after="peaks")
    pipe.add("dense", Densify(noise=noise), after="peaks")
    done = ld.process(pixels, pipe)
    dense = done["dense"].values[:, 0].astype("i8")
    with fabio.open(done.files["file"]) as image:
        assert image.nframes == 5
        theirs = np.stack([image.getframe(number).data for number in range(5)]).astype("i8")
    masked = np.broadcast_to(mask == 1, theirs.shape)
    assert (theirs[masked] == 65535).all()
    assert (dense[masked] == 65535).all()
    difference = np.abs(dense - theirs)
    if not noise:
        assert difference.max() <= 1
        assert (difference > 0).mean() < 1e-3  # radii in single precision, then rounded
    else:
        spread = (dense - theirs)[~masked]
        assert 5 < spread.std() < 9  # σ of some 40 to 70 counts


def test_the_grid_tells_where_the_beam_is() -> None:
    pixels = frames(2, seed=5)
    whole = shown(ld.process(pixels, pipeline(SparsifyBragg(poni=PONI, npt=80)))["n0"].data)
    pipe = pipeline(Crop(y=0, x=0, height=SHAPE[0], width=SHAPE[1]), Flip(axis="x"),
                    SparsifyBragg(poni=PONI, npt=80))  # fmt: skip
    moved = shown(ld.process(pixels, pipe)["n2"].data)
    assert np.mean(moved[..., ::-1] != whole) < 1e-4


def test_the_plan_tells_of_the_background_and_of_mistakes() -> None:
    spec = Spec(Grid(SHAPE), np.dtype("u2"))
    planned = SparsifyBragg(poni=PONI, npt=50).plan(spec)
    assert planned.is_sparse
    assert planned.background is not None
    assert planned.background.radius.shape == (50,)
    assert planned.background.pixel_radius.shape == SHAPE
    with pytest.raises(ld.ConfigError, match="cannot be read"):
        SparsifyBragg(poni="nowhere.poni").plan(spec)
    with pytest.raises(ld.ConfigError, match="does not fit the detector"):
        SparsifyBragg(poni=PONI).plan(Spec(Grid((300, 300)), np.dtype("u2")))


def test_saved_peaks_become_the_same_frames_again(tmp_path: Path) -> None:
    pipe = ld.Pipeline()
    pipe.add("peaks", SparsifyBragg(poni=PONI, npt=70, cutoff=4))
    pipe.add("file", SaveHdf5(folder=str(tmp_path)), after="peaks")
    pipe.add("dense", Densify(), after="peaks")
    done = ld.process(frames(7), pipe)
    again = ld.Pipeline()
    again.add("dense", Densify())
    with ld.open(done.files["file"]) as tree:
        found = ld.process(tree, again)["dense"]
        part = ld.process(tree["entry/data/images"].isel(frame=slice(2, 5)), again)["dense"]
    assert np.abs(found.values.astype("i8") - done["dense"].values).max() <= 1
    assert (part.values == found.values[2:5]).all()


def test_frames_that_lack_pixels_have_the_same_radii() -> None:
    spec = Spec(Grid(SHAPE), np.dtype("u2"))
    lacks = np.zeros(SHAPE, bool)
    lacks[:, :80] = True
    whole, part = (
        SparsifyBragg(poni=PONI, npt=50).plan(one) for one in (spec, spec.lacking(lacks))
    )
    assert whole.background is not None
    assert part.background is not None
    np.testing.assert_allclose(part.background.radius, whole.background.radius)
