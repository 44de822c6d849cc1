"""Clusters of SLURM jobs: some receive, others process."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Scheduler, SpecCluster

from limadask.cluster.jobs import Slurm, SlurmJobs
from limadask.cluster.local import SETTINGS, environment
from limadask.errors import ConfigError, LimadaskError


def slurm_cluster(slurm: Slurm | str | Path) -> SpecCluster:
    """Submit the jobs, and return the Dask cluster that their workers join as they start.

    ``Client(cluster)`` connects, ``client.wait_for_workers(…)`` waits, ``cluster.close()`` ends the
    jobs. The scheduler is in this process and ends with it.

    Parameters
    ----------
    slurm:
        What is to be submitted, or a YAML file that says it.

    Raises
    ------
    ConfigError
        When something in the file is not what it may be, or dask-jobqueue is not installed.
    LimadaskError
        When SLURM refuses the jobs.
    """
    try:
        from limadask.cluster.slurm_job import LimadaskJob
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"SLURM needs the extra 'slurm': pip install 'limadask[slurm]' ({error})",
            node="cluster",
        ) from error
    if not isinstance(slurm, Slurm):
        slurm = Slurm.load(slurm)
    listen = {"interface": slurm.interface, "port": slurm.port, "dashboard_address": ":0"}
    workers = {
        f"{role}-{number}": {
            "cls": LimadaskJob,
            "options": _options(slurm, role, jobs),
            # how Dask calls the workers of a job that has several
            **({"group": [f"-{one}" for one in range(jobs.workers)]} if jobs.workers > 1 else {}),
        }
        for role, jobs in slurm.kinds().items()
        for number in range(jobs.jobs)
    }
    try:
        with dask.config.set(SETTINGS):
            return SpecCluster(workers, {"cls": Scheduler, "options": listen}, name="limadask")
    except FileNotFoundError as error:
        raise LimadaskError(f"no SLURM here: {error}") from error
    except (RuntimeError, OSError, ValueError) as error:
        raise LimadaskError(f"the SLURM cluster did not start: {error}") from error


@contextmanager
def slurm_client(slurm: Slurm | str | Path) -> Iterator[Client]:
    """Run a cluster of SLURM jobs; all of them run when its client is returned.

    Raises
    ------
    ConfigError
        As :func:`slurm_cluster` does.
    LimadaskError
        When SLURM refuses the jobs, or has not started all in time.
    """
    if not isinstance(slurm, Slurm):
        slurm = Slurm.load(slurm)
    with slurm_cluster(slurm) as cluster, Client(cluster) as client:
        try:
            client.wait_for_workers(slurm.nb_workers, timeout=slurm.start_timeout)
        except TimeoutError as error:
            found = len(cluster.scheduler_info["workers"])
            raise LimadaskError(
                f"{found} of {slurm.nb_workers} workers have started within "
                f"{slurm.start_timeout:g} s: look at `squeue`, and at the logs in {slurm.logs}"
            ) from error
        yield client


def _options(slurm: Slurm, role: str, jobs: SlurmJobs) -> dict[str, Any]:
    """Return the options of one job, as dask-jobqueue calls them."""
    resources = {role: 1, **jobs.resources}
    settings = [f"export {name}={shlex.quote(value)}" for name, value in environment().items()]
    return {
        "job_name": f"limadask-{role}",
        "queue": jobs.partition,
        "account": jobs.account,
        "walltime": jobs.walltime,
        "cores": jobs.cores,
        "memory": f"{int(jobs.memory)} B",
        "processes": jobs.workers,
        "interface": jobs.interface,
        "python": slurm.python,
        "log_directory": slurm.logs,
        "local_directory": jobs.scratch,
        "job_script_prologue": [*settings, *jobs.prologue],
        "job_extra_directives": list(jobs.directives),
        "worker_extra_args": [
            "--resources",
            ",".join(f"{name}={amount:g}" for name, amount in resources.items()),
        ],
    }
