"""The page about MPI: its code runs in a world, and it tells all fields."""

from __future__ import annotations

import re
import sys
from types import ModuleType

import cloudpickle
import pytest
from pages import FOLDER

from limadask.mpi import MpiTask

PAGE = (FOLDER / "mpi.md").read_text(encoding="utf-8")


def test_the_code_gives_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    page = ModuleType("page")  # as a notebook's, which is pickled by value
    monkeypatch.setitem(sys.modules, page.__name__, page)
    cloudpickle.register_pickle_by_value(page)
    try:
        for program in re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
            exec(compile(program, "docs/how-to/mpi.md", "exec"), page.__dict__)
    finally:
        cloudpickle.unregister_pickle_by_value(page)


def test_all_fields_are_told_with_their_defaults() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(.*?)` \|", PAGE, re.MULTILINE)
    fields = {name: field.default for name, field in MpiTask.model_fields.items()}
    assert {name: type(fields[name])(told) for name, told in rows} == fields
