"""What is counted as it comes and goes."""

from __future__ import annotations

import gc
import threading

from limadask.memory import METERS, Tally


def test_a_tally_tells_what_is_held_and_what_ever_was() -> None:
    tally = Tally("observe", "1234", "live")
    tally.add(100)
    tally.add(50)
    tally.remove(100)
    told = tally.usage()
    assert (told.stage, told.uuid, told.node) == ("observe", "1234", "live")
    assert (told.allocated, told.in_use, told.high_water) == (50, 50, 150)
    assert (told.total, told.loans) == (150, 2)


def test_nothing_is_lost_between_threads() -> None:
    tally = Tally("chunks")

    def work() -> None:
        for _ in range(500):
            tally.add(3)
            tally.remove(3)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    told = tally.usage()
    assert (told.in_use, told.total, told.loans) == (0, 6000, 2000)
    assert 3 <= told.high_water <= 12


def test_a_meter_is_not_kept_alive() -> None:
    tally = Tally("hold", "only this one")
    assert [one for one in METERS.usages() if one.uuid == "only this one"]
    del tally
    gc.collect()
    assert not [one for one in METERS.usages() if one.uuid == "only this one"]
