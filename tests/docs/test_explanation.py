"""What the explanations say is true: states as drawn, rules with tests that exist."""

from __future__ import annotations

import doctest
import importlib.util
import re
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import pytest

from limadask.events import Event

ROOT = Path(__file__).parent.parent.parent
STATES = ROOT / "docs" / "explanation" / "states.md"
ENGINE = ROOT / "docs" / "explanation" / "engine.md"


def script(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_state_machines_are_drawn_as_they_are() -> None:
    page = STATES.read_text()
    assert page.count("stateDiagram-v2") == 2
    assert script("draw_states").drawn(page) == page, "run python docs/draw_states.py"


def test_events_have_the_fields_that_are_told() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (`.*?) \|", STATES.read_text(), re.M)
    told = {name: ["uuid", "time", *re.findall(r"`(\w+)`", text)] for name, text in rows}
    assert told == {name: [one.name for one in fields(kind)] for name, kind in Event.kinds.items()}


def test_each_rule_names_tests_that_exist_or_a_reason() -> None:
    rules = ENGINE.read_text().split("## The 22 rules")[1]
    rows = re.findall(r"^\| (\d+) \| .* \| (.*) \|$", rules, re.M)
    assert [int(number) for number, _ in rows] == list(range(1, 23))
    for number, shown in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", shown)
        for file, test in named:
            assert f"def {test}(" in (ROOT / file).read_text(), f"rule {number}: {file}::{test}"
        assert named or "figure" in shown or "not built" in shown, f"rule {number}"


@pytest.mark.parametrize("page", ["pipeline", "coordinates"])
def test_the_examples_of_a_page_give_what_it_shows(page: str) -> None:
    found = doctest.testfile(str(ENGINE.with_name(f"{page}.md")), module_relative=False)
    assert found.attempted > 3
    assert found.failed == 0
