"""Integrate1d against pyFAI."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import reduced
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from rings import alike, counts, integrator

from limadask.frames import Frames, Labels, Spec
from limadask.geometry import Grid
from limadask_tasks import Integrate1d, Mask

SHAPE = 40, 50
UNITS = ["q_nm^-1", "q_A^-1", "2th_deg", "2th_rad", "r_mm", "d*2_nm^-2", "log10(q.m)_None"]
SPLITS = ["no", "bbox", "full"]


@st.composite
def geometries(draw: st.DrawFn) -> Any:
    part = st.floats(-0.5, 1.5).map(lambda one: one + 0.0137)  # no corner in the beam itself
    angle = st.floats(-0.3, 0.3)
    return integrator(
        SHAPE,
        draw(st.floats(0.01, 0.3)),
        (draw(part), draw(part)),
        (draw(angle), draw(angle), draw(angle)),
        draw(st.sampled_from([1, 2, 3, 4])),
    )


@given(
    geometries(), st.sampled_from(UNITS), st.sampled_from(SPLITS), st.integers(1, 80),
    st.sampled_from([None, "poisson"]), st.sampled_from(["u2", "i4", "f4"]),
    st.booleans(), st.sampled_from([None, 0.9]), st.floats(0, 0.6),
    st.booleans(), st.booleans(), st.booleans(), st.integers(0, 999),
)  # fmt: skip
@settings(max_examples=30, phases=(Phase.generate,))
def test_curves_are_those_of_pyfai(
    ai: Any, unit: str, split: Any, npt: int, error_model: Any, dtype: str,
    solid: bool, polarization: float | None, masked: float, has_dark: bool, has_flat: bool,
    has_range: bool, seed: int,
) -> None:  # fmt: skip
    random = np.random.default_rng(seed)
    image = counts(seed, SHAPE).astype(dtype)
    if dtype[0] == "f":
        image[random.random(SHAPE) < 0.1] = np.nan
    mask = random.random(SHAPE) < masked
    dark = random.random(SHAPE) if has_dark else None
    flat = random.uniform(0.5, 1.5, SHAPE) if has_flat else None
    radial = ai.center_array(SHAPE, unit)[~mask]
    ends = tuple(np.quantile(radial, [0.2, 0.9]).tolist())
    if not ends[0] < ends[1]:
        has_range = False
    given_range = ends if has_range else None
    expected = ai.integrate1d(
        image, npt, unit=unit, method=(split, "csr", "cython"), error_model=error_model,
        correctSolidAngle=solid, polarization_factor=polarization, mask=mask, dark=dark, flat=flat,
        radial_range=given_range,
    )  # fmt: skip
    task = Integrate1d(
        poni=ai.get_config(), npt=npt, unit=unit, split=split, error_model=error_model,
        correct_solid_angle=solid, polarization_factor=polarization, dark=dark, flat=flat,
        radial_range=given_range,
    )  # fmt: skip
    spec = Spec(Grid(SHAPE), np.dtype(dtype))
    values = reduced(spec, Frames.of(image[None, None]), Mask(mask), task)
    # a pixel's two edges in single precision, in bins or in pixels: more than 1e-5 where these are
    # narrow far from 0, as on a logarithmic axis
    width = np.ptp(ends if has_range else radial) / max(npt, sum(SHAPE))
    rounding = 2 * np.finfo("f4").eps * np.abs(radial).max() / width if width else 0.0
    tolerance = max(1e-5, float(rounding))
    alike(values["intensity"][0, 0], expected.intensity, tolerance)
    if error_model:
        alike(values["sigma"][0, 0], expected.sigma, tolerance)
    else:
        assert set(values) == {"intensity"}
    coordinate = task.plan(spec.replace(masked=mask)).coordinates["radial"][1]
    np.testing.assert_allclose(coordinate, expected.radial, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("split", SPLITS)
def test_an_azimuth_range_takes_a_sector_also_across_the_discontinuity(split: Any) -> None:
    ai, image = integrator(SHAPE), counts(1, SHAPE)
    for ends in ((20.0, 80.0), (170.0, 200.0)):
        expected = ai.integrate1d(image, 12, method=(split, "csr", "cython"), azimuth_range=ends)
        task = Integrate1d(poni=ai.get_config(), npt=12, split=split, azimuth_range=ends)
        values = reduced(Spec(Grid(SHAPE), image.dtype), Frames.of(image[None, None]), task)
        alike(values["intensity"][0, 0], expected.intensity)


def test_each_band_has_its_own_mask_dark_and_flat() -> None:
    ai, images = integrator(SHAPE), counts(2, (3, 2, *SHAPE))
    random = np.random.default_rng(3)
    masks, darks = random.random((2, *SHAPE)) < 0.3, random.random((2, *SHAPE))
    flats = random.uniform(0.5, 2, (2, *SHAPE))
    spec = Spec(Grid(SHAPE), images.dtype, ("low", "high"))
    task = Integrate1d(
        poni=ai.get_config(), npt=20, error_model="poisson", dark=darks, flat=flats,
        radial_range=(2, 3),
    )  # fmt: skip
    values = reduced(spec, Frames.of(images), Mask(masks), task)
    for frame in range(3):
        for band in range(2):
            expected = ai.integrate1d(
                images[frame, band], 20, error_model="poisson", mask=masks[band],
                dark=darks[band], flat=flats[band], radial_range=(2, 3),
            )  # fmt: skip
            alike(values["intensity"][frame, band], expected.intensity)
            alike(values["sigma"][frame, band], expected.sigma)


@pytest.mark.parametrize(("dummy", "delta"), [(20.0, None), (19.0, 2.0)])
def test_dummies_are_left_out_frame_by_frame(dummy: float, delta: float | None) -> None:
    ai, images = integrator(SHAPE), counts(4, (2, 1, *SHAPE))
    images[1][images[1] == 20] = 21
    given: Any = {"dummy": dummy, "delta_dummy": delta, "error_model": "poisson"}
    for split in SPLITS:
        task = Integrate1d(poni=ai.get_config(), npt=15, split=split, **given)
        values = reduced(Spec(Grid(SHAPE), images.dtype), Frames.of(images), task)
        for frame, (image,) in enumerate(images):
            expected = ai.integrate1d(image, 15, method=(split, "csr", "cython"), **given)
            alike(values["intensity"][frame, 0], expected.intensity)
            alike(values["sigma"][frame, 0], expected.sigma)


@pytest.mark.parametrize("split", SPLITS)
def test_a_bin_whose_pixels_are_all_unusable_is_empty(split: Any) -> None:
    ai = integrator(SHAPE)
    image = counts(5, SHAPE).astype("f4")
    image[ai.center_array(SHAPE, "r_mm") > 1.5] = np.nan
    task = Integrate1d(
        poni=ai.get_config(), npt=10, unit="r_mm", split=split, empty=np.nan, error_model="poisson"
    )
    values = reduced(Spec(Grid(SHAPE), image.dtype), Frames.of(image[None, None]), task)
    outside = np.asarray(task.plan(Spec(Grid(SHAPE), image.dtype)).coordinates["radial"][1]) > 1.8
    assert outside.any()
    assert np.isnan(values["intensity"][0, 0, outside]).all()
    assert np.isfinite(values["intensity"][0, 0, ~outside][:-1]).all()


def test_what_the_detector_masks_is_left_out() -> None:
    from pyFAI.detectors import detector_factory
    from pyFAI.integrator.azimuthal import AzimuthalIntegrator

    detector = detector_factory("imxpad_s10")  # gaps between modules, and larger pixels there
    ai = AzimuthalIntegrator(0.05, 0.008, 0.001, detector=detector, wavelength=1e-10)
    image = counts(6, detector.shape)
    expected = ai.integrate1d(image, 50, error_model="poisson")
    task = Integrate1d(poni=ai.get_config(), npt=50, error_model="poisson")
    spec = Spec(Grid(detector.shape), image.dtype)
    values = reduced(spec, Frames.of(image[None, None]), task)
    alike(values["intensity"][0, 0], expected.intensity)
    alike(values["sigma"][0, 0], expected.sigma)


def test_a_labelled_block_gives_a_dataset_along_the_radius() -> None:
    ai, images = integrator(SHAPE), counts(7, (2, 1, *SHAPE))
    task = Integrate1d(poni=ai.get_config(), npt=15, unit="2th_deg", error_model="poisson")
    table = task(Labels(Spec(Grid(SHAPE), images.dtype))(Frames.of(images, first=3)))
    assert table["intensity"].dims == ("frame", "band", "radial")
    assert table["radial"].attrs["units"] == "2th_deg"
    assert table["sigma"].attrs["units"] == "counts"
    assert table["frame"].values.tolist() == [3, 4]
