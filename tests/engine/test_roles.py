"""Roles, and who is chosen by them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limadask.engine.options import Options
from limadask.engine.port import WorkerInfo
from limadask.engine.roles import ROLES, cast, roles_of
from limadask.errors import ConfigError


def workers(*names: str) -> list[WorkerInfo]:
    """Workers whose names tell their roles; ``both-0`` has two."""
    two = {"receiver": 1.0, "processing": 1.0}
    return [
        WorkerInfo(f"tcp://{name}", name, 1, 1, roles_of(name, two if "both" in name else {}))
        for name in names
    ]


def wanted(
    receivers: int, processing: int, shared: bool = False, needs_gpu: bool = False
) -> Options:
    return Options(receivers, processing, shared, None, "input", needs_gpu=needs_gpu)


def chosen(names: str, options: Options) -> tuple[str, str]:
    receivers, processors = cast(workers(*names.split()), options)
    return " ".join(one.name for one in receivers), " ".join(one.name for one in processors)


@pytest.mark.parametrize("role", ROLES)
def test_a_resource_says_the_role(role: str) -> None:
    assert roles_of("worker-3", {role: 1.0, "memory": 5.0}) == {role}
    assert roles_of("worker-3", {role.upper(): 2.0}) == {role}  # GPU=2, as Dask's users write it
    assert roles_of("worker-3", {role: 0.0}) == frozenset()


def test_a_name_says_the_role_where_no_resource_does() -> None:
    for name in ("rx", "rx-0", "rx_1", "rx3", "receiver-a", "rx-0-1"):
        assert roles_of(name, {"memory": 1.0}) == {"receiver"}, name
    for name in ("proc-0", "processing-12", "proc.7"):
        assert roles_of(name, {}) == {"processing"}, name
    assert roles_of("gpu-0", {}) == {"gpu"}
    for name in ("0", "tcp://rx-0:80", "rxa", "processor-1", "my-rx-0", ""):
        assert roles_of(name, {}) == frozenset(), name
    assert roles_of("rx-0", {"processing": 1.0}) == {"processing"}


@pytest.mark.parametrize(
    ("names", "shared", "expected"),
    [
        ("a b c", False, ("a", "b c")),
        ("a b c", True, ("a", "a b")),
        ("a proc-0 proc-1 rx-0", False, ("rx-0", "proc-0 proc-1")),
        ("a proc-0 proc-1 rx-0", True, ("rx-0", "rx-0 proc-0")),
        ("a b proc-0 rx-0", False, ("rx-0", "proc-0 a")),
        ("a proc-0 proc-1", False, ("a", "proc-0 proc-1")),
        ("a proc-0 proc-1", True, ("a", "a proc-0")),
        ("rx-0 rx-1 a b", False, ("rx-0", "a b")),
        ("both-0 rx-0 proc-0 a", False, ("rx-0", "both-0 proc-0")),
        ("both-0 both-1 both-2", False, ("both-0", "both-1 both-2")),
        ("gpu-0 a b", False, ("a", "gpu-0 b")),
        ("gpu-0 gpu-1 gpu-2", False, ("gpu-0", "gpu-1 gpu-2")),
    ],
)
def test_those_with_the_role_come_first(
    names: str, shared: bool, expected: tuple[str, str]
) -> None:
    assert chosen(names, wanted(1, 2, shared)) == expected


@pytest.mark.parametrize(
    ("names", "options", "said"),
    [
        ("a b", wanted(1, 2), "2 worker.*needs 3"),
        ("proc-0 proc-1 proc-2", wanted(1, 2), "0 worker.*'receiver'.*needs 1"),
        ("proc-0 proc-1", wanted(1, 1, shared=True), "0 worker.*'receiver'.*needs 1"),
        ("rx-0 rx-1 proc-0", wanted(1, 2), "1 worker.*'processing'.*needs 2"),
        ("rx-0 rx-1 proc-0", wanted(1, 3, shared=True), "2 worker.*'processing'.*needs 3"),
        ("rx-0 a proc-0", wanted(3, 3, shared=True), "2 worker.*'receiver'.*needs 3"),
    ],
)
def test_too_few_names_both_numbers_and_the_role(names: str, options: Options, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        chosen(names, options)
    assert caught.value.node == "topology"
    assert caught.value.field == ("receivers" if "'receiver'" in said else "workers")


@given(
    names=st.lists(st.sampled_from(["a", "rx", "proc", "gpu", "both"]), max_size=7),
    receivers=st.integers(1, 3),
    processing=st.integers(1, 4),
    shared=st.booleans(),
)
def test_nobody_does_what_its_role_rules_out(
    names: list[str], receivers: int, processing: int, shared: bool
) -> None:
    some = workers(*(f"{name}-{number}" for number, name in enumerate(names)))
    able = sum("proc" not in name for name in names), sum("rx" not in name for name in names)
    try:
        took, work = cast(some, wanted(receivers, processing, shared))
    except ConfigError:
        if not shared:  # it is only refused where no choice would do
            enough = able[0] >= receivers and able[1] >= processing
            assert not (enough and len(some) >= receivers + processing)
        return
    assert (len(took), len(work)) == (receivers, processing)
    assert all("proc" not in one.name for one in took)
    assert shared or all("rx" not in one.name for one in work)
    common = {one.address for one in took} & {one.address for one in work}
    assert len(common) == (min(receivers, processing) if shared else 0)


def test_only_workers_with_a_gpu_process_where_tasks_need_one() -> None:
    names = "rx-0 rx-1 proc-0 gpu-0 gpu-1"
    assert chosen(names, wanted(1, 2, needs_gpu=True)) == ("rx-0", "gpu-0 gpu-1")
    assert chosen(names, wanted(1, 2, shared=True, needs_gpu=True)) == ("gpu-0", "gpu-0 gpu-1")
    with pytest.raises(ConfigError, match=r"has 2 worker\(s\) with the role 'gpu', the topology"):
        chosen(names, wanted(1, 3, needs_gpu=True))
