"""Mistakes are found when a run is planned, each with its field and what is allowed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rings import counts, integrator

from limadask.errors import ConfigError
from limadask.frames import Spec
from limadask.geometry import Grid
from limadask_tasks import Bin, Integrate1d, Integrate2d, SigmaClip

SHAPE = 40, 50
SPEC = Spec(Grid(SHAPE), np.dtype("u2"))
CONFIG = integrator(SHAPE).get_config()


def refused(spec: Spec = SPEC, /, **fields: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        Integrate1d(**{"poni": CONFIG, "npt": 10, **fields}).plan(spec)
    return caught.value


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"unit": "q_inches"}, "unit", "no such unit"),
        ({"unit": "qip_nm^-1"}, "unit", "no such unit"),
        ({"npt": 0}, "npt", "greater than 0"),
        ({"split": "pseudo"}, "split", "'no', 'bbox' or 'full'"),
        ({"error_model": "gauss"}, "error_model", "'poisson' or 'azimuthal'"),
        ({"radial_range": (3, 1)}, "radial_range", "a range is two finite numbers"),
        ({"radial_range": (0, np.inf)}, "radial_range", "a range is two finite numbers"),
        ({"radial_range": (30, 31)}, "radial_range", "takes no pixel"),
        ({"azimuth_range": (0.001, 0.002)}, "azimuth_range", "takes no pixel"),
        ({"polarization_factor": 2}, "polarization_factor", "less than or equal to 1"),
        ({"dark": np.zeros((3, 3))}, "dark", "the image has shape"),
        ({"flat": "nowhere.h5"}, "flat", "nowhere.h5"),
    ],
)
def test_a_wrong_value_names_its_field(fields: Any, field: str, words: str) -> None:
    error = refused(**fields)
    assert error.field == field
    assert words in str(error)


def test_the_range_that_would_take_pixels_is_told() -> None:
    error = refused(radial_range=(30, 31))
    low, high = (float(word) for word in str(error.allowed).split() if word[0].isdigit())
    q = integrator(SHAPE).center_array(SHAPE, "q_nm^-1")
    assert low == pytest.approx(0, abs=0.1)
    assert high == pytest.approx(q.max(), rel=0.05)


@pytest.mark.parametrize("text", ["", "Distance: 0.1\n", "Distance: far\n", "Detector: Nothing\n"])
def test_a_file_without_a_geometry_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "wrong.poni"
    path.write_text(text)
    error = refused(poni=str(path))
    assert (error.field, error.value) == ("poni", str(path))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    error = refused(poni=str(tmp_path / "none.poni"))
    assert error.field == "poni"
    assert "No such file" in str(error)


def test_relative_paths_are_taken_from_the_folder_of_the_file(tmp_path: Path) -> None:
    integrator(SHAPE).save(str(tmp_path / "a.poni"))
    task = Integrate1d(poni="a.poni", npt=10, dark="d.h5", flat="f.h5::/x").absolute(tmp_path)
    assert (task.poni, task.dark, task.flat) == (
        str(tmp_path / "a.poni"), str(tmp_path / "d.h5"), f"{tmp_path / 'f.h5'}::/x",
    )  # fmt: skip
    assert task.replace(dark=None, flat=None).plan(SPEC).units == {"radial": "q_nm^-1"}
    assert Integrate1d(poni=CONFIG, npt=10).absolute(tmp_path).poni == CONFIG


@pytest.mark.parametrize(
    "grid", [Grid((41, 50)), Grid((40, 51)), Grid((80, 100)).crop(30, 0, 40, 50)]
)
def test_an_image_that_does_not_lie_on_the_detector_is_refused(grid: Grid) -> None:
    error = refused(SPEC.replace(grid=grid))
    assert error.field == "poni"
    assert "does not fit the detector" in str(error)
    assert "of 40 × 50 pixels" in str(error.value)


def test_a_detector_without_a_shape_takes_any_image_but_no_orientation() -> None:
    from pyFAI.detectors import Detector
    from pyFAI.integrator.azimuthal import AzimuthalIntegrator

    for orientation, fits in ((3, True), (1, False)):
        detector = Detector(1e-4, 1e-4, orientation=orientation)
        config = AzimuthalIntegrator(0.1, detector=detector, wavelength=1e-10).get_config()
        if fits:
            assert Integrate1d(poni=config, npt=10).plan(SPEC).variables
        else:
            assert "has an orientation, but no shape" in str(refused(poni=config))


def test_hexagonal_pixels_cannot_be_moved_about() -> None:
    from pyFAI.detectors import detector_factory
    from pyFAI.integrator.azimuthal import AzimuthalIntegrator

    detector = detector_factory("Pixirad1")
    config = AzimuthalIntegrator(0.1, 0, 0, detector=detector, wavelength=1e-10).get_config()
    spec = SPEC.replace(grid=Grid(detector.shape).flip("x"))
    assert "only be integrated as they are" in str(refused(spec, poni=config))
    as_it_is = Integrate1d(poni=config, npt=10, unit="r_mm")
    assert as_it_is.plan(SPEC.replace(grid=Grid(detector.shape))).variables


def test_a_unit_that_needs_a_wavelength_is_refused_without_one() -> None:
    config = integrator(SHAPE, wavelength=None).get_config()
    error = refused(poni=config)
    assert (error.field, "needs a wavelength" in str(error)) == ("unit", True)
    assert "2th_deg" in str(error.allowed)
    assert Integrate1d(poni=config, npt=10, unit="2th_deg").plan(SPEC).variables


def test_masking_everything_leaves_nothing() -> None:
    error = refused(SPEC.replace(masked=np.ones(SHAPE, bool)))
    assert "all pixels are masked" in str(error)


def test_means_of_means_are_known_to_be_means() -> None:
    planned = Bin(y=2, x=2, mode="mean").plan(Bin(y=2, x=5, mode="sum").plan(SPEC))
    assert Bin(y=1, x=5, mode="mean").plan(planned).nb_averaged == 20


def test_tasks_are_plain_data_for_files() -> None:
    task = Integrate2d(poni=CONFIG, npt_rad=5, dark=np.ones(SHAPE))
    assert task.effective(SPEC)["dark"] == "(40, 50) float64"
    assert SigmaClip(poni="a.poni", npt=5).effective(SPEC)["threshold"] == 5.0


def test_without_pyfai_the_tasks_are_there_and_say_what_to_install() -> None:
    program = (
        "import sys; sys.modules['pyFAI'] = None\n"
        "import numpy as np, limadask as ld, limadask_tasks as tasks\n"
        "from limadask.geometry import Grid\n"
        "task = tasks.Integrate1d(poni='a.poni', npt=5)\n"
        "try: task.plan(ld.Spec(Grid((4, 5)), np.dtype('u2')))\n"
        "except ld.ConfigError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=100
    )
    assert "pip install 'limadask[pyfai]'" in done.stdout, done.stderr


def test_counts_beyond_single_precision_are_no_mistake() -> None:
    image = counts(1, SHAPE).astype("u4") * 10_000_000
    values = Integrate1d(poni=CONFIG, npt=5).measure(SPEC.replace(dtype=image.dtype))(
        image[None, None]
    )
    expected = integrator(SHAPE).integrate1d(image, 5).intensity
    np.testing.assert_allclose(values[0, 0, :, 0], expected, rtol=1e-5)
