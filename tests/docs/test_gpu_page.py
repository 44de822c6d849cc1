"""The page on GPUs: as it stands where there is one, by NumPy elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client
from graphics import has_gpu

PAGE = (Path(__file__).parents[2] / "docs/how-to/gpu.md").read_text(encoding="utf-8")
HERE = {'arrays="cupy", device="gpu"': 'arrays="numpy"', 'allocator="pinned"': 'allocator="pages"'}


def example() -> str:
    (found,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def check(source: str, names: dict[str, Any]) -> None:
    exec(compile(source, "docs/how-to/gpu.md", "exec"), names)
    camera, peaks = names["camera"], names["peaks"]["brightest"]
    truth = [int(camera.frame(number).values.max()) - 20 for number in range(100)]
    np.testing.assert_array_equal(peaks.values[:, 0], truth)
    assert peaks.dims == ("frame", "band")


def test_the_example_runs_without_a_gpu(client: Client) -> None:
    source, count = re.subn(r"^client.*\n", "", example(), flags=re.MULTILINE)
    assert count == 2
    for gpu, here in HERE.items():
        assert gpu in source
        source = source.replace(gpu, here)
    check(source, {"client": client})


@pytest.mark.gpu
def test_the_example_runs_on_a_gpu() -> None:
    if not has_gpu():
        pytest.skip("no GPU here that CuPy has")
    check(example(), {"__name__": "__main__"})
