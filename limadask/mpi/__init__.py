"""Functions that run collectively over the ranks of an MPI world."""

from limadask.mpi.task import MpiTask, mpi_task

__all__ = ["MpiTask", "mpi_task"]
