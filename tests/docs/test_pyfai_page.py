"""The page on pyFAI, run as it is: its curves are those of pyFAI."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from distributed import Client

from limadask.configuration import Configuration
from limadask_detectors import Simulator

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "pyfai.md").read_text(encoding="utf-8")
SHAPE = 256, 240


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the first block makes, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    made: dict[str, Any] = {}
    exec(blocks("python")[0], made)
    return made


def test_curves_come_with_the_run(client: Client, names: dict[str, Any]) -> None:
    names["client"] = client
    exec(blocks("python")[1], names)
    curve, same, camera = names["curve"], names["same"], Simulator(shape=SHAPE)
    assert curve["intensity"].dims == ("frame", "band", "radial")
    assert curve["frame"].values.tolist() == list(range(100))
    assert curve["radial"].attrs["units"] == "q_nm^-1"
    for number in (0, 99):
        image = camera.frame(number).values[0]
        expected = names["geometry"].integrate1d(image, 200, error_model="poisson")
        for name in ("intensity", "sigma"):
            np.testing.assert_allclose(
                curve[name].sel(frame=number, band="0"), getattr(expected, name), rtol=1e-5
            )
    np.testing.assert_allclose(curve["radial"], expected.radial, rtol=1e-6)
    at = {"radial": slice(0.1 * curve["radial"].max().item(), 0.8 * curve["radial"].max().item())}
    total = [one["intensity"].sel(at).mean().item() for one in (curve, same)]
    assert total[1] == pytest.approx(total[0], rel=0.01)  # binned and mirrored: no factor of four


def test_the_file_is_valid(names: dict[str, Any], tmp_path: Path) -> None:
    (text,) = blocks("yaml")
    configuration = Configuration.parse(yaml.safe_load(text), tmp_path)
    assert [node.name for node in configuration.pipeline] == ["curve", "map", "background"]
