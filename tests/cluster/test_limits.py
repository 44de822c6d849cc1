"""What frames may have on a worker, with a memory limit of Dask's and without."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from limadask.cluster import limits
from limadask.cluster.limits import PROCESS_NBYTES, available_nbytes, budget_nbytes, pool_nbytes

GIB = 1 << 30


@pytest.mark.parametrize("limit", [GIB, 4 * GIB, 64 * GIB])
def test_a_worker_with_a_limit_stays_below_where_dask_spills(limit: int) -> None:
    budget = budget_nbytes(limit, 3, 123)
    assert budget + PROCESS_NBYTES <= 0.6 * limit
    assert budget > 0.6 * limit - PROCESS_NBYTES - 1


def test_a_process_that_has_much_itself_leaves_less_to_frames() -> None:
    assert budget_nbytes(10 * GIB, 1, 0, itself=GIB // 10) == 6 * GIB - PROCESS_NBYTES
    assert budget_nbytes(10 * GIB, 1, 0, itself=2 * GIB) == 4 * GIB
    assert budget_nbytes(10 * GIB, 1, 0, itself=7 * GIB) == 0


def test_a_limit_that_has_no_room_for_frames_grants_none() -> None:
    assert budget_nbytes(100 << 20, 1, 0) == 0


def test_workers_without_a_limit_share_what_is_available(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "available_nbytes", lambda: (5 * GIB, 10 * GIB))
    shares = [budget_nbytes(limit, 4, used) for limit, used in ((None, 0), (0, GIB), (0, 3 * GIB))]
    assert shares == [GIB, 2 * GIB, 4 * GIB]  # what they have, and a quarter beside the reserve
    monkeypatch.setattr(limits, "available_nbytes", lambda: (GIB // 2, 10 * GIB))
    assert budget_nbytes(0, 1, GIB) == GIB


def test_a_pool_has_a_quarter_of_the_limit_and_no_more_than_is_left() -> None:
    assert pool_nbytes(None, None) == (GIB, None)
    assert pool_nbytes(2 * GIB, GIB) == (GIB // 2, GIB)
    assert pool_nbytes(16 * GIB, 100) == (100, 100)


@pytest.mark.parametrize("version", [0, 1])
def test_a_control_group_counts_where_it_has_less(tmp_path: Path, version: int) -> None:
    limit, usage, inactive = limits.GROUPS[version]
    memory = psutil.virtual_memory()
    assert available_nbytes(tmp_path)[1] == memory.total  # none
    most = min(GIB, memory.total // 2)
    (tmp_path / limit).parent.mkdir(exist_ok=True)
    (tmp_path / usage).write_text(f"{most // 2}\n")
    (tmp_path / limit).with_name("memory.stat").write_text(f"anon 1\n{inactive} {most // 4}\n")
    (tmp_path / limit).write_text("max\n")
    assert available_nbytes(tmp_path)[1] == memory.total
    (tmp_path / limit).write_text(f"{most}\n")
    available, total = available_nbytes(tmp_path)
    assert total == most
    assert available <= most - most // 2 + most // 4
