"""The page on colour cameras: its configuration is one, its detectors and its plot are there."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import yaml

import limadask as ld
from limadask.configuration import Configuration
from limadask.detector import Detector
from limadask_tasks import Demosaic

PAGE = (Path(__file__).parents[2] / "docs/how-to/colour.md").read_text(encoding="utf-8")


def test_the_configuration_is_valid(tmp_path: Path) -> None:
    (text,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    found = Configuration.parse(yaml.safe_load(text), tmp_path)
    assert found.detector.pattern == "grbg"  # type: ignore[attr-defined]


def test_the_detectors_are_made_and_the_colours_are_plotted() -> None:
    cameras, filtered, plot = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    for code in (cameras, filtered):
        exec(code, names)
        assert isinstance(names["camera"], Detector)
    pipe = ld.Pipeline()
    pipe.add("rgb", Demosaic(pattern="rggb"))
    shown = ld.process(np.full((8, 10), 100, "u1"), pipe)["rgb"][0]

    live = SimpleNamespace(latest=lambda: shown)
    exec(plot, {"acquisition": SimpleNamespace(observe={"live": live})})
    assert plt.gca().images[0].get_array().shape[:2] == (8, 10)
    plt.close("all")
