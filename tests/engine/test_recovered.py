"""What files tell of a dead worker's frames."""

from __future__ import annotations

import numpy as np

from limadask.engine.recovered import fates_of, saved_by_all
from limadask.frames import Spec, Status
from limadask.geometry import Grid
from limadask.task import Recovered

SUMS = Spec(Grid((4, 5)), np.dtype("u2"), nb_merged=2)
PRESENT, PARTIAL, VETOED = (int(one) for one in (Status.PRESENT, Status.PARTIAL, Status.VETOED))


def test_a_sum_tells_of_all_its_frames() -> None:
    recovered = Recovered(
        np.array([1, 4]), np.array([PRESENT, PARTIAL], np.uint8), {4: "packets_lost"}
    )
    assert fates_of(recovered, SUMS) == {
        2: (PRESENT, ""), 3: (PRESENT, ""), 8: (PARTIAL, "packets_lost"),
        9: (PARTIAL, "packets_lost"),
    }  # fmt: skip


def test_a_frame_that_one_of_several_sinks_lacks_is_partial() -> None:
    both, lacking, vetoed = (PRESENT, ""), (PARTIAL, "packets_lost"), (VETOED, "veto:hits")
    first = {0: both, 1: both, 2: lacking, 3: vetoed}
    second = {0: both, 2: lacking, 4: both}
    assert saved_by_all([first, second]) == {
        0: both, 1: (PARTIAL, "worker_lost"), 2: lacking, 3: vetoed, 4: (PARTIAL, "worker_lost"),
    }  # fmt: skip
    assert saved_by_all([first]) == first
    assert saved_by_all([]) == {}
