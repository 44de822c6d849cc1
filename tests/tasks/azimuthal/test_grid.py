"""Curves stay the same when frames were cropped, flipped, turned or binned before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import reduced
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from rings import alike, counts, integrator, smooth_rings
from strategies import Operation, applied, chains, positions, tasks_of

from limadask.frames import Frames, Spec
from limadask.geometry import Grid
from limadask_tasks import Bin, Crop, Flip, Integrate1d, Integrate2d

SHAPE = 36, 48
TILTED = {"rotations": (0.1, -0.05, 0.3), "dist": 0.03}


@given(
    chains(SHAPE, bins=False), st.sampled_from(["no", "bbox", "full"]),
    st.sampled_from([1, 2, 3, 4]), st.integers(0, 999),
)  # fmt: skip
@settings(max_examples=25, phases=(Phase.generate,))
def test_moved_pixels_give_the_curve_of_the_same_pixels(
    chain: tuple[Operation, ...], split: Any, orientation: int, seed: int
) -> None:
    ai = integrator(SHAPE, orientation=orientation, **TILTED)
    image = counts(seed, SHAPE)
    y, x = positions(SHAPE, chain).astype(int)
    outside = np.ones(SHAPE, bool)
    outside[y, x] = False
    expected = ai.integrate1d(
        image, 25, method=(split, "csr", "cython"), error_model="poisson", mask=outside,
        polarization_factor=0.9,
    )  # fmt: skip
    task = Integrate1d(
        poni=ai.get_config(), npt=25, split=split, error_model="poisson", polarization_factor=0.9
    )
    values = reduced(
        Spec(Grid(SHAPE), image.dtype), Frames.of(image[None, None]), *tasks_of(chain), task
    )
    alike(values["intensity"][0, 0], expected.intensity)
    alike(values["sigma"][0, 0], expected.sigma)


@pytest.mark.parametrize("mode", ["sum", "mean"])
@pytest.mark.parametrize(("y", "x"), [(2, 2), (3, 1), (1, 4)])
def test_binned_frames_give_the_same_curve_whether_bins_are_sums_or_means(
    y: int, x: int, mode: Any
) -> None:
    shape = 300, 240
    ai = integrator(shape, **TILTED)
    image = smooth_rings(ai, shape)
    ends = tuple(np.quantile(ai.center_array(shape, "q_nm^-1"), [0.02, 0.9]).tolist())
    task = Integrate1d(poni=ai.get_config(), npt=50, radial_range=ends)
    spec, frames = Spec(Grid(shape), image.dtype), Frames.of(image[None, None])
    before = reduced(spec, frames, task)["intensity"]
    steps = Crop(y=6, x=8, height=288, width=224), Flip(axis="x")
    after = reduced(spec, frames, *steps, Bin(y=y, x=x, mode=mode), task)["intensity"]
    np.testing.assert_allclose(after, before, rtol=0.01)  # rings are blurred by a bin, no more


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_poisson_errors_of_binned_frames_are_those_of_the_counts(mode: Any) -> None:
    shape = 120, 120
    ai, image = integrator(shape), counts(1, (120, 120), mean=50)
    ends = tuple(np.quantile(ai.center_array(shape, "q_nm^-1"), [0.2, 0.9]).tolist())
    task = Integrate1d(
        poni=ai.get_config(), npt=6, split="no", radial_range=ends, error_model="poisson"
    )
    spec, frames = Spec(Grid(shape), image.dtype), Frames.of(image[None, None])
    before = reduced(spec, frames, task)
    after = reduced(spec, frames, Bin(y=2, x=2, mode=mode), task)
    for name in ("intensity", "sigma"):  # bins at the ends of a ring fall to another
        np.testing.assert_allclose(after[name], before[name], rtol=0.05)


def test_pixels_of_uneven_size_are_binned_by_their_outer_corners() -> None:
    from pyFAI.detectors import detector_factory
    from pyFAI.integrator.azimuthal import AzimuthalIntegrator

    from limadask_tasks.azimuthal.detector import GridDetector

    detector = detector_factory("imxpad_s10")
    grid = Grid(detector.shape).flip("y").rotate(1).bin(2, 3)
    made = GridDetector(detector, grid.affine, grid.shape)
    corners = detector.get_pixel_corners()
    for y, x in ((0, 0), (7, 11), (grid.shape[0] - 1, grid.shape[1] - 1)):
        edges = [grid(y + dy, x + dx) for dy in (-0.4, 0.4) for dx in (-0.4, 0.4)]
        rows, columns = np.rint(np.transpose(edges)).astype(int)
        parts = corners[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1, :, 1:]
        whole = made.get_pixel_corners()[y, x, :, 1:]
        np.testing.assert_allclose(whole.min(axis=0), parts.min(axis=(0, 1, 2)))
        np.testing.assert_allclose(whole.max(axis=0), parts.max(axis=(0, 1, 2)))
    assert AzimuthalIntegrator(0.05, detector=made).delta_array(grid.shape, "r_mm").min() > 0


def test_a_binned_pixel_with_a_masked_one_in_it_is_masked() -> None:
    from pyFAI.detectors import Detector

    from limadask_tasks.azimuthal.detector import GridDetector

    detector = Detector(1e-4, 1e-4, max_shape=(12, 9))
    detector.mask = np.random.default_rng(1).random((12, 9)) < 0.1
    grid = Grid((12, 9)).rotate(1).bin(3, 4)
    made = GridDetector(detector, grid.affine, grid.shape)
    chain: tuple[Operation, ...] = (("rotate", {"turns": 1}), ("bin", {"y": 3, "x": 4}))
    np.testing.assert_array_equal(made.mask, applied(detector.mask, chain, np.max))


def test_maps_are_the_same_after_a_turn() -> None:
    ai, image = integrator(SHAPE, **TILTED), counts(3, SHAPE)
    expected = ai.integrate2d(image, 15, 12, error_model="poisson")
    task = Integrate2d(poni=ai.get_config(), npt_rad=15, npt_azim=12, error_model="poisson")
    chain: tuple[Operation, ...] = (("rotate", {"turns": 1}), ("flip", {"axis": "y"}))
    spec = Spec(Grid(SHAPE), image.dtype)
    values = reduced(spec, Frames.of(image[None, None]), *tasks_of(chain), task)
    alike(values["intensity"][0, 0], expected.intensity)
    alike(values["sigma"][0, 0], expected.sigma)


def test_a_geometry_calibrated_with_binned_images_fits_binned_images() -> None:
    from pyFAI.detectors import detector_factory
    from pyFAI.integrator.azimuthal import AzimuthalIntegrator

    detector = detector_factory("imxpad_s70")  # 120 × 560 pixels
    detector = type(detector)(pixel1=2 * 130e-6, pixel2=2 * 130e-6)
    if detector.binning != (2, 2):
        pytest.skip("pyFAI does not bin this detector")
    shape = tuple(detector.shape)
    ai = AzimuthalIntegrator(0.1, 0.01, 0.03, detector=detector, wavelength=1e-10)
    image = counts(5, shape)
    grid = Grid((shape[0] * 2, shape[1] * 2)).bin(2, 2)
    values = reduced(
        Spec(grid, image.dtype), Frames.of(image[None, None]),
        Integrate1d(poni=ai.get_config(), npt=30),
    )  # fmt: skip
    alike(values["intensity"][0, 0], ai.integrate1d(image, 30).intensity)
