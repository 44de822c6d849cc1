"""The page on savers names those that there are, and its configuration is one."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from limadask import registry
from limadask.configuration import Configuration
from limadask.task import Sink

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "how-to" / "savers.md").read_text(encoding="utf-8")


def test_all_savers_are_in_the_table() -> None:
    named = set(re.findall(r"^\| `(\w+)` \|", PAGE.partition("```")[0], re.MULTILINE))
    sinks = {
        name
        for name, task in registry.tasks().items()
        if issubclass(task, Sink) and task.__module__.startswith("limadask_tasks.")
    }
    assert named == sinks - {"observe"}


def test_the_configuration_is_one(tmp_path: Path) -> None:
    (text,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    made = Configuration.parse(yaml.safe_load(text), tmp_path)
    assert [node.task.task_name() for node in made.pipeline] == [
        "save_hdf5", "mask", "save_zarr", "save_images", "stream_zmq", "stream_pva",
    ]  # fmt: skip
