"""The page on SLURM shows a file that is valid, and tells all keys."""

from __future__ import annotations

import re
from pathlib import Path

import limadask as ld

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "slurm.md").read_text(encoding="utf-8")


def test_the_file_is_valid(tmp_path: Path) -> None:
    (text,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    path = tmp_path / "slurm.yaml"
    path.write_text(text)
    assert ld.Slurm.load(path).nb_workers == 3


def test_all_keys_are_told() -> None:
    rows = re.findall(r"^\| (`.*?`) \|", PAGE, re.MULTILINE)
    told = {key for row in rows for key in re.findall(r"`(\w+)`", row)}
    assert told == set(ld.Slurm.model_fields) | set(ld.SlurmJobs.model_fields)
