"""What files tell of a dead worker's frames."""

from __future__ import annotations

import numpy as np

from limadask.engine.account import Account
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


def test_files_win_over_presumed_losses_and_over_nothing_else() -> None:
    account = Account(lambda kind, **fields: None)
    account.mark_absent(0, 2, 1, "receiver_lost")
    account.mark_absent(2, 3, 1, "task_error:later")
    account.ledger.mark(3, 4, Status.VETOED, "veto:one")
    account.ledger.mark(5, 6, Status.PARTIAL, "receiver_lost")
    account.find(0, dict.fromkeys((1, 2, 3, 4, 5), (Status.PRESENT, "")))
    assert account.done == 2  # what a receipt has told of is not counted again
    fates = [(run.first, run.stop, run.status, run.cause) for run in account.ledger.runs()]
    assert fates == [
        (0, 1, Status.ABSENT, "receiver_lost"),
        (1, 2, Status.PRESENT, ""),
        (2, 3, Status.ABSENT, "task_error:later"),
        (3, 4, Status.VETOED, "veto:one"),
        (4, 5, Status.PRESENT, ""),
        (5, 6, Status.PARTIAL, "receiver_lost"),
    ]
    account.find(0, {})
