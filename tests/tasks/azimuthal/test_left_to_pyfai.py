"""What pyFAI's own engines do: its other error model, sigma-clipping, OpenCL; and maps."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from harness import reduced
from rings import alike, counts, integrator

from limadask.errors import ConfigError
from limadask.frames import Frames, Spec
from limadask.geometry import Grid
from limadask_tasks import Integrate1d, Integrate2d, Mask, SigmaClip

SHAPE = 40, 50
MASK = np.random.default_rng(9).random(SHAPE) < 0.2


def integrated(task: Any, images: Any, *before: Any) -> dict[str, Any]:
    return reduced(Spec(Grid(SHAPE), images.dtype), Frames.of(images), *before, task)


@pytest.mark.parametrize("split", ["no", "bbox", "full"])
def test_the_spread_within_rings_is_pyfais(split: Any) -> None:
    ai, images = integrator(SHAPE), counts(1, (2, 1, *SHAPE))
    given: Any = {"error_model": "azimuthal", "polarization_factor": 0.5}
    task = Integrate1d(poni=ai.get_config(), npt=20, split=split, **given)
    values = integrated(task, images, Mask(MASK))
    for number, (image,) in enumerate(images):
        expected = ai.integrate1d(image, 20, method=(split, "csr", "cython"), mask=MASK, **given)
        alike(values["intensity"][number, 0], expected.intensity)
        alike(values["sigma"][number, 0], expected.sigma)


@pytest.mark.parametrize("split", ["no", "bbox", "full"])
@pytest.mark.parametrize("error_model", [None, "poisson", "azimuthal"])
def test_maps_are_pyfais(split: Any, error_model: Any) -> None:
    ai, images = integrator(SHAPE), counts(2, (2, 1, *SHAPE))
    random = np.random.default_rng(4)
    given: Any = {
        "error_model": error_model, "dark": random.random(SHAPE),
        "flat": random.uniform(0.5, 2, SHAPE),
    }  # fmt: skip
    task = Integrate2d(poni=ai.get_config(), npt_rad=15, npt_azim=12, split=split, **given)
    planned = task.plan(Spec(Grid(SHAPE), images.dtype, masked=MASK))
    values = integrated(task, images, Mask(MASK))
    for number, (image,) in enumerate(images):
        expected = ai.integrate2d(
            image, 15, 12, method=(split, "csr", "cython"), mask=MASK, **given
        )
        alike(values["intensity"][number, 0], expected.intensity)
        if error_model:
            alike(values["sigma"][number, 0], expected.sigma)
    for name in ("radial", "azimuthal"):
        labels = planned.coordinates[name][1]
        np.testing.assert_allclose(labels, getattr(expected, name), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("error_model", ["poisson", "azimuthal", "hybrid"])
def test_outliers_are_clipped_as_pyfai_does(error_model: Any) -> None:
    ai, images = integrator(SHAPE), counts(3, (1, 1, *SHAPE))
    images[0, 0, ::7, ::5] = 500
    task = SigmaClip(
        poni=ai.get_config(), npt=10, threshold=4, max_iterations=3, error_model=error_model
    )
    values = integrated(task, images, Mask(MASK))
    expected = ai.sigma_clip(
        images[0, 0], 10, thres=4, max_iter=3, error_model=error_model, mask=MASK
    )
    for name in ("intensity", "sigma", "std", "count"):
        alike(values[name][0, 0], getattr(expected, name))
    assert values["intensity"].max() < 30


def test_threads_integrate_at_the_same_time_by_integrators_of_their_own() -> None:
    ai, images = integrator(SHAPE), counts(4, (40, 1, *SHAPE))
    task = SigmaClip(poni=ai.get_config(), npt=10)
    measure = task.measure(Spec(Grid(SHAPE), images.dtype))
    alone = np.concatenate([measure(image[np.newaxis]) for image in images])
    with ThreadPoolExecutor(4) as pool:
        together = np.concatenate(list(pool.map(measure, images[:, np.newaxis])))
    np.testing.assert_array_equal(together, alone)


@pytest.fixture(scope="module")
def devices() -> tuple[str, str, tuple[int, int]]:
    """All names of an OpenCL device; there is one wherever pocl is installed."""
    pytest.importorskip("pyopencl", reason="pyopencl is not installed")
    from pyFAI.method_registry import IntegrationMethod

    found = IntegrationMethod.select_method(1, "bbox", "csr", "opencl", degradable=False)
    if not found:
        pytest.skip("pyFAI finds no OpenCL device")
    return "any", found[0].target_type, found[0].target


@pytest.mark.parametrize("kind", ["1d", "2d", "clip"])
def test_opencl_devices_give_the_same_numbers(
    devices: tuple[str, str, tuple[int, int]], kind: str
) -> None:
    ai, images = integrator(SHAPE), counts(5, (2, 1, *SHAPE))
    config: Any = {"poni": ai.get_config()}
    tasks = {
        "1d": Integrate1d(**config, npt=20, error_model="poisson"),
        "2d": Integrate2d(**config, npt_rad=10, npt_azim=8, error_model="poisson"),
        "clip": SigmaClip(**config, npt=10),
    }
    task = tasks[kind]
    expected = integrated(task, images, Mask(MASK))
    for chosen in devices:
        found = integrated(task.replace(opencl=chosen), images, Mask(MASK))
        for name in expected:
            alike(found[name], expected[name], 1e-4)  # OpenCL sums in single precision


def test_an_opencl_device_that_is_not_there_is_named_where_it_is_to_be_used() -> None:
    task = Integrate1d(poni=integrator(SHAPE).get_config(), npt=10, opencl=(97, 3))
    with pytest.raises(ConfigError, match="finds no such OpenCL device") as caught:
        task.check()
    assert (caught.value.field, caught.value.value) == ("opencl", (97, 3))
