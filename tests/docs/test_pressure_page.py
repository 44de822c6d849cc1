"""What the page about memory says of pressure: its code runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from distributed import Client
from pages import FOLDER

import limadask as ld
from limadask.configuration import Configuration
from limadask.memory.pressure import ENTERED, LEFT
from limadask.parameters import Every
from limadask_detectors import Simulator

PAGE = (FOLDER / "memory.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("\n## Pressure\n")[2].partition("\n## ")[0]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)


def test_the_scan_loop_runs(client: Client) -> None:
    told, scan = (compile(text, "docs/how-to/memory.md", "exec") for text in blocks("python"))
    moved = list[int]()
    with ld.Acquisition(
        client, Simulator(shape=(64, 48)), nb_frames=5, expo_time=1e-3, trigger_mode="software"
    ) as acquisition:
        acquisition.prepare()
        names: dict[str, Any] = {"ld": ld, "acq": acquisition, "move": moved.append}
        exec("import time", names)
        exec(scan, names | {"positions": range(5)})
        acquisition.wait(timeout=60)
        exec(told, names)  # it ends with the run
    assert moved == list(range(5))
    assert acquisition.record().counts()["present"] == 5


def test_the_example_is_valid(tmp_path: Path) -> None:
    (text,) = blocks("yaml")
    policy = Configuration.parse(yaml.safe_load(text), tmp_path).policy
    assert (policy.on_overrun, policy.drop) == ("drop", Every(every=4))


def test_the_table_has_the_thresholds() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*? \| .*?) \|$", SECTION, re.MULTILINE))
    for level, begins in ENTERED.items():
        assert rows[level].startswith(f"{begins:.0%}".replace("%", " %"))
    for level, ends in LEFT.items():
        assert rows[level].endswith(f"below {ends:.0%}".replace("%", " %"))
