"""Times of blocks: from their processing to the table and its picture."""

from __future__ import annotations

import re
import time
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt

from limadask.monitoring import timeline as timelines
from limadask.monitoring.node_seconds import NODES, NodeSeconds
from limadask.monitoring.picture import plot_waterfall
from limadask.monitoring.timeline import Timeline
from limadask.monitoring.waterfall import bars, waterfall
from limadask.pipeline.timing import REST, WAITING, Timing, node_of, seconds_by_node, stage_of
from limadask.views import waterfall_html


def timed(*stages: tuple[str, float]) -> Timing:
    """Times of a block whose stages took so long."""
    timing = Timing()
    for stage, lasted in stages:
        timing.add(stage, time.perf_counter() - lasted)
    return timing


def receipt(
    timing: Timing, worker: str = "w", wait: float = 0.0, transit: float = 0.0, queue: float = 0.0
) -> dict[str, Any]:
    """Receipt of a block that waited so long before it was processed."""
    taken = timing.began - queue
    stages, times = timing.told(taken - transit - wait, taken - transit, taken)
    return {"stages": stages, "times": times, "worker": worker}


def table(timeline: Timeline, began: float) -> xr.Dataset:
    return waterfall({**timeline.dump(), "began": began, "uuid": "u"})


STAGES = (("bin", 0.25), ("file: encode", 0.5), ("file: write", 0.125), ("bin", 0.25))


def test_a_stage_begins_with_its_first_tile_and_lasts_as_long_as_all() -> None:
    timing = timed(("bin", 0.25), ("bin", 0.5))
    begin, lasted = timing.stages["bin"]
    assert begin == pytest.approx(-0.25, abs=0.05)
    assert lasted == pytest.approx(0.75, abs=0.05)


def test_both_stages_of_a_sink_are_its_node_s_time() -> None:
    timing = timed(*STAGES)
    expected = pytest.approx({"bin": 0.5, "file": 0.625}, abs=0.05)
    assert timing.seconds() == expected
    assert seconds_by_node(*timing.told()) == expected


def test_what_a_receipt_tells_becomes_a_table() -> None:
    timeline, timing = Timeline(), timed(*STAGES)
    took = receipt(timing, "w", wait=1.0, transit=2.0, queue=4.0)
    timeline.take(took, "r", 10, 19)
    times = table(timeline, timing.began - 10)
    assert times["stage"].values.tolist() == [
        "wait", "transit", "queue", "bin", "file: encode", "file: write",
    ]  # fmt: skip
    (block,) = (times.isel(block=number) for number in range(times.sizes["block"]))
    known = {name: block[name].item() for name in ("first", "last", "receiver", "worker")}
    assert known == {"first": 10, "last": 19, "receiver": "r", "worker": "w"}
    assert block["born"] == pytest.approx(3.0, abs=1e-3)
    assert block["duration"].values == pytest.approx([1, 2, 4, 0.5, 0.5, 0.125], abs=0.05)
    assert block["begin"].values[:3] == pytest.approx([3, 4, 6], abs=1e-3)
    assert times["duration"].attrs["units"] == "s"
    waiting = pytest.approx({"wait": 1, "transit": 2, "queue": 4}, abs=1e-3)
    assert timeline.waiting() == waiting
    assert timeline.by_node() == pytest.approx({"bin": 0.5, "file": 0.625}, abs=0.05)
    assert timeline.latency()["median"] == pytest.approx(7.0, abs=0.5)


def test_what_nobody_knows_is_not_there() -> None:
    timeline, timing = Timeline(), timed(("bin", 0.25))
    stages, times = timing.told()
    timeline.take({"stages": stages, "times": times, "worker": "w"}, "r", 0, 9)
    timeline.take({"stages": (), "times": b"", "worker": "w"}, "r", 10, 19)  # never processed
    made = table(timeline, timing.began)
    assert made.sizes["block"] == 1
    assert np.isnan(made["duration"].sel(stage=["wait", "transit", "queue"])).all()
    assert np.isnan(made["born"]).all()
    assert timeline.waiting() == timeline.latency() == {}
    assert next(bar.stage for bar in bars(made)) == "bin"


def test_blocks_may_differ_in_their_stages() -> None:
    timeline, first, second = Timeline(), timed(("a", 0.1)), timed(("b", 0.2), ("a", 0.1))
    timeline.take(receipt(first), "r", 10, 19)
    timeline.take(receipt(second), "r", 0, 9)
    times = table(timeline, first.began)
    assert times["first"].values.tolist() == [0, 10]
    assert times["duration"].sel(stage="b").isnull().values.tolist() == [False, True]
    assert times["duration"].sel(stage="a").values == pytest.approx([0.1, 0.1], abs=0.05)


def test_only_the_last_blocks_are_kept_and_all_are_counted() -> None:
    timeline, took = Timeline(), receipt(timed(("a", 0.5)))
    for number in range(timelines.KEPT + 5):
        timeline.take(took, "r", number, number)
    times = table(timeline, 0.0)
    assert times.sizes["block"] == timelines.KEPT
    assert times["first"].values[0] == 5
    assert timeline.seconds["a"] == pytest.approx(0.5 * (timelines.KEPT + 5), rel=0.1)


def test_nothing_yet_is_an_empty_table_with_an_empty_picture() -> None:
    times = table(Timeline(), 0.0)
    assert times.sizes == {"block": 0, "stage": 3}
    assert "0 blocks" in waterfall_html(times)
    plt.close(plot_waterfall(times).figure)


def test_a_block_s_bars_follow_one_another_from_its_birth_to_its_end() -> None:
    timeline, timing = Timeline(), timed(("bin", 0.01))
    end = time.perf_counter() + 0.02
    while time.perf_counter() < end:  # between its nodes
        pass
    timeline.take(receipt(timing, wait=1.0, transit=0.5, queue=0.25), "r", 0, 9)
    times = table(timeline, timing.began)
    drawn = list(bars(times))
    assert [bar.stage for bar in drawn] == ["wait", "transit", "queue", "bin", REST]
    for before, after in pairwise(drawn):
        assert after.begin == pytest.approx(before.begin + before.duration, abs=1e-6)
    assert drawn[0].begin == pytest.approx(times["born"].item())
    assert drawn[-1].begin + drawn[-1].duration == pytest.approx(times["ended"].item())


def test_the_picture_has_a_row_for_each_of_the_last_blocks() -> None:
    timeline = Timeline()
    for number in range(30):
        took = receipt(timed(("bin", 0.1)), f"w{number % 2}", wait=0.1)
        timeline.take(took, "r", 10 * number, 10 * number + 9)
    times = table(timeline, time.time())
    axes = plot_waterfall(times, blocks=20)
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert rows[0] == "100–109 on w0"
    assert rows[-1] == "290–299 on w1"
    assert len(rows) == 20
    legend = axes.get_legend()
    assert legend is not None
    assert {"wait", "bin"} <= {text.get_text() for text in legend.get_texts()}
    plt.close(axes.figure)
    page = waterfall_html(times, blocks=20)
    assert "100–109 on w0, wait: 100 ms" in page
    assert {int(y) // 10 for y in re.findall(r' y="(\d+)"', page)} == set(range(20))


def test_a_process_counts_the_seconds_of_the_nodes_that_were_at_work_last() -> None:
    spent = NodeSeconds()
    spent.take({"ending": "unused"})
    for number in range(NODES + 10):
        spent.take(receipt(timed((f"n{number}", 0.25), ("file: write", 0.5))))
    assert spent.blocks == NODES + 10
    assert len(spent.seconds) == NODES
    assert spent.seconds["file"] == pytest.approx(0.5 * (NODES + 10), rel=0.1)
    assert f"n{NODES + 9}" in spent.seconds
    assert "n0" not in spent.seconds


@pytest.mark.parametrize("name", [*WAITING, REST, "bin"])
def test_a_node_may_be_called_as_a_stage_is(name: str) -> None:
    timeline, timing = Timeline(), timed((stage_of(name), 0.5))
    timeline.take(receipt(timing, wait=1.0, transit=1.0, queue=1.0), "r", 0, 9)
    assert node_of(stage_of(name)) == name
    assert timeline.by_node() == pytest.approx({name: 0.5}, abs=0.05)
    assert timeline.waiting() == pytest.approx(dict.fromkeys(WAITING, 1.0), abs=1e-3)
    assert len(set(table(timeline, 0.0)["stage"].values.tolist())) == 4


def test_stages_of_too_many_kinds_are_counted_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timelines, "KINDS", 2)
    timeline = Timeline()
    for number in (0, 1, 2, 3, 1):
        timeline.take(receipt(timed((f"n{number}", 0.25))), "r", number, number)
    assert table(timeline, 0.0)["first"].values.tolist() == [0, 1, 1]
    assert timeline.by_node().keys() == {"n0", "n1", "n2", "n3"}
