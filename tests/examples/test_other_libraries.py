"""The example with other people's functions runs, but for its cluster."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client

SOURCE = Path(__file__).parents[2] / "examples" / "other_libraries.py"


def test_it_runs(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("skimage")
    monkeypatch.chdir(tmp_path)
    text, count = re.subn(r"^client.*\n", "", SOURCE.read_text("utf-8"), flags=re.MULTILINE)
    assert count == 2
    names: dict[str, Any] = {"client": client, "__name__": "__main__"}
    exec(compile(text, str(SOURCE), "exec"), names)
    acquisition = names["acquisition"]
    found = acquisition.data["spots"]
    assert found["count"].dims == ("frame", "band")
    assert (found["count"] > 0).all()
    assert (found["largest"] > 1).any()
    assert np.isfinite(acquisition.observe["live"].latest()).all()
