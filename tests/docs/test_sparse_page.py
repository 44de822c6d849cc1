"""The page on sparse frames runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from limadask_tasks import SaveHdf5, SparsifyBragg

PAGE = (Path(__file__).parents[2] / "docs/how-to/sparse.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(block("python"), "docs/how-to/sparse.md", "exec"), {})
    assert (tmp_path / "photons" / "limadask_master.h5").exists()


def test_the_configuration_is_one() -> None:
    _, peaks, file = yaml.safe_load(block("yaml"))["pipeline"]
    for node, kind in ((peaks, SparsifyBragg), (file, SaveHdf5)):
        fields = {k: v for k, v in node.items() if k not in ("name", "task", "after")}
        assert kind(**fields).task_name() == node["task"]
