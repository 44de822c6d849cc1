"""Frames without some of their pixels: the same bins, the other pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import reduced
from rings import alike, counts, integrator
from strategies import lacking

from limadask.frames import Frames, Spec
from limadask.geometry import Grid
from limadask_tasks import Flip, Integrate1d, Integrate2d, SigmaClip

SHAPE = 40, 50


def module(part: slice) -> Any:
    missing = np.zeros(SHAPE, bool)
    missing[:, part] = True
    return missing


@pytest.mark.parametrize("split", ["no", "bbox", "full"])
@pytest.mark.parametrize("bands", [1, 2])
def test_only_the_pixels_that_are_there_are_integrated(split: Any, bands: int) -> None:
    ai = integrator(SHAPE)
    images = counts(1, (3, bands, *SHAPE))
    whole = images.copy()
    missing = {0: module(slice(0, 20)), 2: module(slice(30, 50))}
    frames = lacking(Frames.of(images), missing)
    spec = Spec(Grid(SHAPE), images.dtype, tuple("ab"[:bands]))
    task = Integrate1d(poni=ai.get_config(), npt=12, split=split, error_model="poisson")
    values = reduced(spec, frames, Flip(axis="y"), task)
    ends = task.setting(spec).extent.radial  # those of whole frames: the axis must not move
    for number in range(3):
        for band in range(bands):
            expected = ai.integrate1d(
                whole[number, band], 12, method=(split, "csr", "cython"), error_model="poisson",
                mask=missing.get(number), radial_range=ends,
            )  # fmt: skip
            alike(values["intensity"][number, band], expected.intensity)
            alike(values["sigma"][number, band], expected.sigma)


@pytest.mark.parametrize("kind", ["azimuthal", "2d", "clip"])
def test_pyfai_itself_is_not_given_what_is_missing(kind: str) -> None:
    ai, image = integrator(SHAPE), counts(2, SHAPE)
    config, missing = ai.get_config(), module(slice(0, 20))
    spec = Spec(Grid(SHAPE), image.dtype)
    ends = Integrate1d(poni=config, npt=9, split="no").setting(spec).extent.radial
    lost: Any = {"mask": missing}
    if kind == "azimuthal":
        task: Any = Integrate1d(
            poni=config, npt=9, split="no", error_model="azimuthal", radial_range=ends
        )
        expected = ai.integrate1d(
            image, 9, method=("no", "csr", "cython"), error_model="azimuthal",
            radial_range=ends, **lost,
        )  # fmt: skip
    elif kind == "2d":
        task = Integrate2d(
            poni=config, npt_rad=9, npt_azim=8, split="no", radial_range=ends,
            azimuth_range=(-170, 170), error_model="poisson",
        )  # fmt: skip
        expected = ai.integrate2d(
            image, 9, 8, method=("no", "csr", "cython"), error_model="poisson",
            radial_range=ends, azimuth_range=(-170, 170), **lost,
        )  # fmt: skip
    else:
        task = SigmaClip(poni=config, npt=9, radial_range=ends)
        expected = ai.sigma_clip(image, 9, error_model="azimuthal", radial_range=ends, **lost)
    frames = lacking(Frames.of(image[None, None].copy()), {0: missing})
    values = reduced(spec, frames, task)
    alike(values["intensity"][0, 0], expected.intensity)
    alike(values["sigma"][0, 0], expected.sigma)
