"""What a worker is there for, told by its Dask resources or by its name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from limadask.engine.options import Options
from limadask.engine.port import WorkerInfo
from limadask.errors import ConfigError

ROLES = ("receiver", "processing", "gpu")
"""Names of the resources, in small or in capital letters; a worker may have several."""
_NAMES = {"rx": "receiver", "proc": "processing"} | {role: role for role in ROLES}
_BEGINNING = re.compile(rf"({'|'.join(_NAMES)})(?![A-Za-z])")


def roles_of(name: str, resources: Mapping[str, float]) -> frozenset[str]:
    """Return the roles that a worker's resources name or, where they name none, its name.

    >>> sorted(roles_of("node7", {"receiver": 1, "memory": 64e9}))
    ['receiver']
    >>> sorted(roles_of("rx-0", {})), sorted(roles_of("proc-12", {})), sorted(roles_of("rxa", {}))
    (['receiver'], ['processing'], [])
    """
    told = frozenset(name.lower() for name, count in resources.items() if count > 0)
    if told := told.intersection(ROLES):
        return told
    beginning = _BEGINNING.match(name)
    return frozenset({_NAMES[beginning[1]]} if beginning else ())


def cast(
    workers: Sequence[WorkerInfo], wanted: Options
) -> tuple[list[WorkerInfo], list[WorkerInfo]]:
    """Choose who receives and who processes.

    Those with the role come first, then those without any; of equals, those that come first. Where
    roles are shared the receivers also process, whatever their role. Where tasks need a GPU, only
    workers with this role process.

    Raises
    ------
    ConfigError
        When there are too few.
    """
    shared, nb_receivers, nb_workers = wanted.shared, wanted.receivers, wanted.workers
    needed = max(nb_receivers, nb_workers) if shared else nb_receivers + nb_workers
    if len(workers) < needed:
        raise _too_few(len(workers), needed)
    able = [one for one in workers if not wanted.needs_gpu or "gpu" in one.roles]
    if wanted.needs_gpu and len(able) < (needed if shared else nb_workers):
        raise _too_few(len(able), needed if shared else nb_workers, "gpu")
    receiving = able if shared else workers
    can_receive = sorted(filter(_may_receive, receiving), key=_rank_as_receiver)
    if len(can_receive) < nb_receivers:
        raise _too_few(len(can_receive), nb_receivers, "receiver")
    receivers = can_receive[:nb_receivers]
    others = (one for one in able if one not in receivers and _may_process(one))
    processors = [*(receivers if shared else ()), *sorted(others, key=lambda one: not one.roles)]
    if len(processors) < nb_workers:
        raise _too_few(len(processors), nb_workers, "processing")
    return receivers, processors[:nb_workers]


def _may_receive(worker: WorkerInfo) -> bool:
    return "receiver" in worker.roles or "processing" not in worker.roles


def _may_process(worker: WorkerInfo) -> bool:
    return worker.roles != {"receiver"}


def _rank_as_receiver(worker: WorkerInfo) -> tuple[bool, int]:
    """Receivers first, and of all those first that are good for little else."""
    return "receiver" not in worker.roles, len(worker.roles)


def _too_few(found: int, needed: int, role: str | None = None) -> ConfigError:
    those, start = "", "start more"
    if role:
        those = f" with the role {role!r}" + ("" if role == "gpu" else " or none")
        start = f"start more with `--resources {role}=1`"
    return ConfigError(
        f"the cluster has {found} worker(s){those}, the topology needs {needed}: {start}, or ask "
        "for less",
        node="topology",
        field="receivers" if role == "receiver" else "workers",
        value=needed,
        allowed=f"at most {found}",
    )
