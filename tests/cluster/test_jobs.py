"""The jobs of a cluster, without SLURM."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import limadask as ld
from limadask.cluster.slurm import _options

RECEIVERS = {"cores": 4, "memory": "2 GiB", "partition": "receivers", "resources": {"gpu": 1}}


def test_a_job_is_asked_for_as_told(tmp_path: Path) -> None:
    from limadask.cluster.slurm_job import LimadaskJob

    slurm = ld.Slurm(receivers=RECEIVERS, logs=str(tmp_path), python="python3")
    job = LimadaskJob("tcp://1.2.3.4:5", name="receiver-0", **_options(
        slurm, "receiver", slurm.receivers))  # fmt: skip
    script = job.job_script()
    assert "#SBATCH -p receivers\n" in script
    assert "#SBATCH --cpus-per-task=4\n" in script
    assert "#SBATCH --mem=2G\n" in script
    assert "--name receiver-0 --nthreads 4 --memory-limit 2.00GiB" in script
    assert "--resources receiver=1,gpu=1" in script


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("- 1", "content"),
        ("processing: {cores: 1, memory: 1 GiB}", "receivers"),
        ("receivers: {cores: 0, memory: 1 GiB}", "receivers.cores"),
        ("receivers: {cores: 1, memory: much}", "receivers.memory"),
        ("receivers: {cores: 1, memory: 1 GiB, partion: a}", "receivers.partion"),
    ],
)
def test_mistakes_in_the_file_are_told(tmp_path: Path, text: str, field: str) -> None:
    path = tmp_path / "slurm.yaml"
    path.write_text(text)
    with pytest.raises(ld.ConfigError) as caught:
        ld.slurm_cluster(path)
    assert (caught.value.node, caught.value.field) == ("cluster", field)


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "limadask.cluster.slurm_job", None)
    with pytest.raises(ld.ConfigError, match=r"limadask\[slurm\]"):
        ld.slurm_cluster(ld.Slurm(receivers=RECEIVERS))
