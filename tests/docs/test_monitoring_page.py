"""What the page about memory says of monitoring: its code runs as it is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from distributed import Client
from matplotlib import pyplot as plt
from PIL import Image

from limadask.cluster.overview import SHOWN
from limadask.monitoring.prometheus import PREFIX
from limadask.monitoring.readings import OF_STAGES, OF_WORKERS
from limadask.monitoring.sampler import STAGES
from limadask.monitoring.timeline import KEPT
from limadask_detectors import Simulator
from limadask_tasks import Bin, SaveHdf5

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "memory.md").read_text(encoding="utf-8")
MONITORING = PAGE[PAGE.index("## Monitoring") :].partition("\n## ")[0]


def test_the_code_about_monitoring_runs(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {
        "client": client, "Simulator": Simulator, "Bin": Bin, "SaveHdf5": SaveHdf5,
    }  # fmt: skip
    for text in re.findall(r"^```python\n(.*?)^```", MONITORING, re.MULTILINE | re.DOTALL):
        exec(compile(text, "docs/how-to/memory.md", "exec"), names)
    plt.close("all")
    assert names["times"].sizes["block"] > 1
    with Image.open("waterfall.png") as picture:
        colours = picture.convert("RGB").getcolors(1 << 24)
    assert colours is not None
    assert len(colours) > 10
    table = names["table"]
    told = set(re.findall(r"`(\w+)`", MONITORING))
    assert {*map(str, table.data_vars), *STAGES} <= told


def test_what_is_served_is_on_the_page() -> None:
    for name, *_, kind in (*OF_STAGES, *OF_WORKERS):
        assert f"`{PREFIX}{name}{'_total' * (kind == 'counter')}`" in MONITORING


def test_how_much_is_kept_is_on_the_page() -> None:
    assert f"the last {KEPT} of a run" in MONITORING
    assert SHOWN == 5 * 60
    assert "for five minutes after" in MONITORING
