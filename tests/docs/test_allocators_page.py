"""The page about memory: its code is that of a package that is installed in tests, or runs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml
from pages import FOLDER

from limadask import registry
from limadask.configuration import Configuration
from limadask.memory import Traits

PACKAGE = Path(__file__).parents[1] / "plugin"
PAGE = (FOLDER / "memory.md").read_text(encoding="utf-8").partition("\n## Monitoring")[0]
SOURCE = (PACKAGE / "limadask_checkerboard" / "memory.py").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_allocator_is_that_of_the_package_and_the_rest_runs() -> None:
    names: dict[str, Any] = {}
    shown = [text for text in blocks("python") if text.rstrip() in SOURCE]
    assert len(shown) == 2
    for text in blocks("python"):
        if text not in shown:
            exec(compile(text, "docs/how-to/memory.md", "exec"), names)
    assert names["buffers"].allocator.interface == "eth0"


def test_the_entry_point_is_the_packages() -> None:
    (text,) = blocks("toml")
    package = tomllib.loads((PACKAGE / "pyproject.toml").read_text(encoding="utf-8"))
    told = tomllib.loads(text)["project"]["entry-points"]
    assert told.items() <= package["project"]["entry-points"].items()


def test_the_examples_are_valid(tmp_path: Path) -> None:
    for text in blocks("yaml"):
        assert Configuration.parse(yaml.safe_load(text), tmp_path)


def test_the_table_has_all_allocators() -> None:
    table = PAGE.split("| allocator |")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == {"auto", *registry.allocators()}


def test_the_page_names_all_traits() -> None:
    listed = PAGE.split("its memory is like (")[1].split(")")[0]
    assert set(re.findall(r"`(\w+)`", listed)) == set(Traits.__dataclass_fields__)
