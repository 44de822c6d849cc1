"""The configuration page says what the code says."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from limadask.configuration import Configuration

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "reference" / "configuration.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_tables_are_current() -> None:
    generate = runpy.run_path(str(DOCS / "generate_reference.py"))
    assert generate["updated"](PAGE) == PAGE, (
        "docs/reference/configuration.md is out of date: "
        "run `python docs/generate_reference.py --write`"
    )


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 10


@pytest.mark.parametrize("text", EXAMPLES)
def test_every_example_is_valid(text: str, tmp_path: Path) -> None:
    data: Any = yaml.safe_load(text)
    if isinstance(data, list):
        data = {"detector": {"type": "simulator"}, "pipeline": data}
    assert Configuration.parse(data, tmp_path).detector
