"""The page about metadata: its code runs as it is, and does what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import numpy as np
import pytest
from distributed import Client

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "metadata.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_code_of_the_page_runs(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = ModuleType("page")  # as a notebook: its functions go to workers by value
    monkeypatch.setitem(sys.modules, "page", page)
    names: dict[str, Any] = vars(page) | {"client": client}
    cloudpickle.register_pickle_by_value(page)
    try:
        for text in blocks("python"):
            exec(compile(text, "docs/how-to/metadata.md", "exec"), names)
    finally:
        cloudpickle.unregister_pickle_by_value(page)
    x, stamps = names["x"], names["frames"]["timestamp"].values.astype(np.int64)
    known = np.isfinite(x.values)
    assert known.sum() > 30
    expected = 2.0 * stamps / 1e9 % 1e6
    np.testing.assert_allclose(x.values[known], expected[known], rtol=0, atol=0.2)
    assert names["acq"].series["comment"]["value"].values.tolist() == ["the shutter is open"]
    names["tree"].close()
    (commands,) = blocks("sh")
    subprocess.run(["bash", "-ec", commands], check=True, timeout=60, capture_output=True)
