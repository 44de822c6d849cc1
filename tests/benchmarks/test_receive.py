"""The sender sends what it is told, and the readers of the benchmark take it all."""

from __future__ import annotations

import pytest
from click import BadParameter

from limadask_benchmarks.receive.bench import Bench, Run
from limadask_benchmarks.receive.decoder import rate
from limadask_benchmarks.receive.images import Compression, Images
from limadask_benchmarks.receive.order import Order, Sent
from limadask_benchmarks.receive.parts import receive
from limadask_benchmarks.receive.rates import highest
from limadask_benchmarks.receive.saving import saving
from limadask_benchmarks.receive.task import Taken

SMALL = Images((64, 64), distinct=4)


def test_images_are_sent_in_the_order_that_was_asked() -> None:
    asked = Order(frames=8, lose=[0, 5], duplicate=[2], late=[3, 7])
    assert list(asked.numbers()) == [1, 2, 2, 4, 3, 6, 7]


def test_what_the_readers_lack_is_lost() -> None:
    sent = Sent(frames=98, nbytes=98_000, dropped=2)
    run = Run(sent, (Taken(40, 39, 0.5, 0.01), Taken(50, 49, 0.5, 0.02)))
    assert run.lost == 10
    assert run.rate == pytest.approx(176)
    assert run.cpu == pytest.approx(0.03 / 88_000 * 1e9)


@pytest.mark.parametrize("limit", [260.0, 500.0, 999.0, 1200.0])
def test_the_highest_rate_is_found(limit: float) -> None:
    found = highest(lambda rate: rate <= limit, 1000)
    assert limit / 1.03 <= found <= limit


def test_a_rate_far_below_the_guess_is_found_and_none_is_none() -> None:
    assert 20 <= highest(lambda rate: rate <= 25, 1000) <= 25
    with pytest.raises(RuntimeError, match="lost even at"):
        highest(lambda rate: False, 1000)


def test_one_run_that_was_disturbed_does_not_count() -> None:
    runs = 0

    def is_lossless(rate: float) -> bool:
        nonlocal runs
        runs += 1
        return runs != 2 and rate <= 500

    assert 480 <= highest(is_lossless, 1000) <= 500


def test_a_part_that_is_not_there_is_refused() -> None:
    with pytest.raises(BadParameter, match="blocks, saving, decoding"):
        receive(print, ["other"])


@pytest.mark.parametrize("compression", ["bslz4", "lz4", "none"])
def test_decoding_alone_is_measured(compression: Compression) -> None:
    assert rate(Images((64, 64), compression=compression), frames=8, threads=2) > 0


@pytest.mark.soak
def test_each_reader_takes_all_images() -> None:
    with Bench("stream2", SMALL) as bench:
        for kind, count in (("drop", 1), ("drop", 2), ("take", 1), ("blocks", 1), ("blocks", 2)):
            run = bench.run(kind, count, 100)
            assert (run.lost, run.sent.frames) == (0, 100), f"{kind}, {count}"
        paced = bench.run("take", 1, 50, rate=200.0)
        assert paced.lost == 0
        assert paced.rate == pytest.approx(200, rel=0.2)


@pytest.mark.slow
def test_a_part_tells_a_rate_and_a_cost_for_each_number_of_receivers() -> None:
    said: list[str] = []
    figures = saving(said.append, SMALL, (1, 2), repeats=1, frames=64)
    assert [one.what for one in figures] == ["saving_1", "saving_1_cpu", "saving_2", "saving_2_cpu"]
    assert all(one.value > 0 and one.ratio > 0 for one in figures)
    assert len(said) == 2
