"""What SLURM jobs make up a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import ByteSize, Field, PositiveFloat, PositiveInt, StringConstraints

from limadask import yaml_file
from limadask.errors import ConfigError
from limadask.model import Model

Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]\w*$")]


class SlurmJobs(Model):
    """Jobs of one kind; what is None is left to the site's configuration of dask-jobqueue."""

    jobs: PositiveInt = 1
    """How many are submitted."""
    workers: PositiveInt = 1
    """Dask workers in each job; its cores and memory are shared out among them."""
    cores: PositiveInt
    """Cores of each job; each worker processes as many blocks at a time as it has cores."""
    memory: ByteSize
    """Memory of each job, such as ``64 GiB``."""
    partition: str | None = None
    """Where they run."""
    account: str | None = None
    """Who pays."""
    walltime: str | None = None
    """How long each job may take, such as ``08:00:00``; without a word from the site half an
    hour."""
    interface: str | None = None
    """Network interface by which the workers talk with scheduler and workers, such as ``ib0``."""
    resources: dict[Word, PositiveFloat] = Field(default_factory=dict)
    """Dask resources of each worker besides its role, such as ``gpu: 1``."""
    prologue: tuple[str, ...] = ()
    """Lines of shell before the workers start, such as ``module load cuda``."""
    directives: tuple[str, ...] = ()
    """More options of ``sbatch``, such as ``--gres=gpu:1``."""
    scratch: str | None = None
    """Folder on the node for what Dask spills."""


class Slurm(Model):
    """A cluster of SLURM jobs around a scheduler in this process."""

    receivers: SlurmJobs
    """Jobs whose workers have the role ``receiver``."""
    processing: SlurmJobs | None = None
    """Jobs whose workers have the role ``processing``; None where receivers do it."""
    interface: str | None = None
    """Network interface of the scheduler, which all nodes must be able to reach."""
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Port of the scheduler; 0 takes any that is free."""
    python: str | None = None
    """Python on the nodes, with limadask installed; None takes the path of the one here."""
    logs: str = "slurm-logs"
    """Folder for what jobs print; on the nodes too."""
    start_timeout: PositiveFloat = 300
    """Seconds to wait for all jobs to run."""

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a YAML file; a relative path in it is taken from its folder.

        Raises
        ------
        ConfigError
            When the file cannot be read, or something in it is not what it may be.
        """
        data = yaml_file.read(path)
        if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
            raise ConfigError(
                "must be a mapping of names to values", node="cluster", field="content",
                value=data, allowed=sorted(cls.model_fields),
            )  # fmt: skip
        try:
            made = cls(**data)
        except ConfigError as error:
            raise error.at("cluster") from error
        return made.replace(logs=str(Path(path).absolute().parent / made.logs))

    @property
    def nb_workers(self) -> int:
        """Dask workers of all jobs."""
        return sum(kind.jobs * kind.workers for kind in self.kinds().values())

    def kinds(self) -> dict[str, SlurmJobs]:
        """Return the jobs by the role of their workers."""
        kinds = {"receiver": self.receivers}
        return kinds if self.processing is None else {**kinds, "processing": self.processing}
