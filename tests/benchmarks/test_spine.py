"""``limadask bench spine`` runs, on small numbers, and the bare loop stays bare."""

from __future__ import annotations

import functools
import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from limadask_benchmarks import bare_loop
from limadask_benchmarks.spine import spine

bench = importlib.import_module("limadask.cli.bench")
FIGURES = [
    "process",
    "process_save",
    "peak_memory",
    "latency_median",
    "latency_p99",
    "latency_median_corrected",
    "scheduler_cpu",
    "scheduler_growth",
]
SMALL = {
    "frames": (60, 20),
    "repeats": (1, 1),
    "few_and_many": (10, 40),
    "paced": 25,
    "blocks": 1000,
}


class Small:
    """The entry point of the benchmark, on small numbers."""

    name = "spine"

    def load(self) -> Any:
        return functools.partial(spine, **SMALL)


@pytest.mark.slow
def test_every_figure_is_told_in_words_and_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "entry_points", lambda group: [Small()])
    done = CliRunner().invoke(bench.bench, ["spine", "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    figures = json.loads(done.stdout)
    assert [one["what"] for one in figures] == FIGURES
    for one in figures:
        assert list(one) == ["what", "value", "limit", "ratio", "repeats"]
        assert all(one[name] > 0 for name in ("value", "limit", "ratio")), one
    assert [one["repeats"] for one in figures] == [1, 1, 2, 25, 25, 25, 1, 1]
    said = done.stderr
    assert re.search(
        r"^memcpy \d+ frames/s.*bare loop.*plain write \d+ frames/s.*\d+%$", said, re.M
    )
    for name in FIGURES:
        assert re.search(rf"^{name} +[\d.e+]+ +[\d.e+]+ +[\d.]+ +\d+$", said, re.M), name


def test_the_benchmark_is_the_installed_one() -> None:
    (entry,) = (one for one in bench.entry_points(group=bench.GROUP) if one.name == "spine")
    assert entry.load() is spine


def test_the_bare_loop_is_short() -> None:
    lines = Path(bare_loop.__file__).read_text(encoding="utf-8").splitlines()
    assert len(lines) < 80
