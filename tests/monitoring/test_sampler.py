"""What a process says of what it uses."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import psutil
import pytest

from limadask.memory import Usage
from limadask.monitoring.sampler import STAGES, Sampler, high_water


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Held:
    """What is metered, as a test says."""

    def __init__(self, *usages: Usage) -> None:
        self.usages = list(usages)

    def __call__(self) -> list[Usage]:
        return self.usages


def pool(uuid: str, total: int, **fields: Any) -> Usage:
    return Usage("receive", uuid, total=total, **fields)


def test_what_several_hold_of_a_stage_is_added_up() -> None:
    held = Held(
        pool("a", 0, allocated=100, in_use=30, high_water=60),
        pool("b", 0, allocated=50, in_use=50, high_water=50),
        Usage("decode", "a", allocated=7),
    )
    stages = Sampler(held).told()["stages"]
    assert set(stages) == set(STAGES)
    assert [stages["receive"][one] for one in ("allocated", "in_use", "high_water")] == [
        150,
        80,
        110,
    ]
    assert stages["decode"]["allocated"] == 7
    assert stages["hold"]["allocated"] == 0


def test_rates_are_those_of_the_last_two_looks() -> None:
    clock, held = Clock(), Held(pool("a", 1000))
    sampler = Sampler(held, clock)
    for total in (1000, 5000, 6000):
        clock.now += 1.0
        held.usages = [pool("a", total)]
        sampler.look()
    clock.now += 0.5
    held.usages = [pool("a", 9500)]
    told = sampler.told()  # the look before the last was 1.5 s ago, when there were 5000
    assert told["stages"]["receive"]["allocation_rate"] == pytest.approx(3000)
    assert told["cpu"] >= 0


def test_rates_are_not_known_at_once() -> None:
    clock = Clock()
    sampler = Sampler(Held(), clock)
    assert math.isnan(sampler.told()["cpu"])
    clock.now += 0.1
    assert sampler.told()["cpu"] >= 0


def test_what_was_allocated_is_counted_when_its_memory_is_gone() -> None:
    held = Held(pool("a", 1000))
    sampler = Sampler(held)
    held.usages = []
    sampler.look()
    held.usages = [pool("b", 300)]
    sampler.look()
    assert sampler.told()["stages"]["receive"]["obtained"] == 1300


def test_memory_that_falls_back_is_not_counted_twice() -> None:
    held = Held(pool("a", 1000))
    sampler = Sampler(held)
    held.usages = [replace(pool("a", 1200), allocator="huge+pages")]
    assert sampler.told()["stages"]["receive"]["obtained"] == 1200


def test_a_system_without_counters_tells_no_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_io_counters", lambda: None)
    monkeypatch.setattr(psutil.Process, "io_counters", refuse)
    clock = Clock()
    sampler = Sampler(Held(), clock)
    clock.now += 1
    told = sampler.told()
    unknown = ("disk_read", "disk_write", "network_received", "network_sent")
    assert all(math.isnan(told[name]) for name in unknown)
    assert told["cpu"] >= 0
    assert told["memory"] > 0


def test_of_a_run_counts_what_is_its_own_and_what_serves_all() -> None:
    held = [
        pool("a", 0, high_water=5),
        pool("b", 0, high_water=70),
        Usage("scratch", high_water=3),
        Usage("scratch", "a", high_water=4),
    ]
    assert high_water(held, "a") == {"receive": 5, "scratch": 7}
