"""The plugin guide shows the code of the package that is installed in the tests."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "tests" / "plugin"
PAGE = (ROOT / "docs" / "how-to" / "plugins.md").read_text(encoding="utf-8")
SOURCES = [path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))]


def blocks(language: str) -> list[str]:
    """All blocks of the page in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_every_python_block_is_in_the_package_or_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PACKAGE))
    names: dict[str, Any] = {}
    shown = run = 0
    for text in blocks("python"):
        if any(text in source for source in SOURCES):
            shown += 1
        else:
            exec(compile(text, "docs/how-to/plugins.md", "exec"), names)
            run += 1
    assert (shown, run) == (7, 2)


@pytest.mark.parametrize(("title", "most"), [("task in twenty", 20), ("detector in thirty", 30)])
def test_the_examples_are_as_short_as_their_titles_say(title: str, most: int) -> None:
    section = PAGE.split(f"## A {title} lines\n")[1].partition("\n## ")[0]
    (shown,) = re.findall(r"^```python\n(class .*?)^```", section, re.MULTILINE | re.DOTALL)
    assert len([line for line in shown.splitlines() if line.strip()]) <= most


def test_the_entry_points_are_those_of_the_package() -> None:
    project = (PACKAGE / "pyproject.toml").read_text(encoding="utf-8")
    assert all(text in project for text in blocks("toml"))


def test_the_yaml_names_what_the_package_brings() -> None:
    (text,) = blocks("yaml")
    data = yaml.safe_load(text)
    names = {data["detector"]["type"], *(node["task"] for node in data["pipeline"])}
    assert names - {"save_hdf5"} == {"checkerboard", "gain", "lit", "brightest"}
