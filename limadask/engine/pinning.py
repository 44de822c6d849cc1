"""Pinning the threads of a worker to cores, as long as an acquisition wants it."""

from __future__ import annotations

import logging
import os
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from limadask.engine.cores import (
    CoreClaim,
    allowed_cores,
    claim_one,
    near_cores,
    pin_thread,
    unclaimed,
)
from limadask.engine.priority import PriorityPool
from limadask.parameters import Cores

logger = logging.getLogger(__name__)
Numbers = frozenset[int]


@dataclass(slots=True)
class Pinned:
    """The cores that an acquisition got on one worker.

    Parameters
    ----------
    receiver, processing:
        Numbers of the cores; empty where threads are not pinned.
    warnings:
        Why it is not all that was asked for.
    """

    receiver: Numbers = frozenset()
    processing: Numbers = frozenset()
    warnings: list[str] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        """Return the cores as plain data, without those that were not pinned."""
        both = {"receiver": self.receiver, "processing": self.processing}
        return {name: sorted(cores) for name, cores in both.items() if cores}


class Pinning:
    """Shares the cores of one worker out among its threads.

    The threads that process serve all acquisitions: they stay on the cores that the first of those
    wants which are there, and go to those of the next when it is released. May be used from any
    thread.

    Parameters
    ----------
    pool:
        The threads that process.
    """

    def __init__(self, pool: PriorityPool) -> None:
        self._pool, self._lock = pool, threading.Lock()
        self._claims: dict[str, CoreClaim] = {}
        self._receivers: dict[str, Pinned] = {}
        self._wanted: dict[str, Numbers] = {}

    def claim(self, uuid: str, asked: Cores, host: str) -> None:
        """Choose the cores of an acquisition's receiver.

        Parameters
        ----------
        uuid, asked:
            The acquisition, and what it wants.
        host:
            Address of the worker.
        """
        found = Pinned()
        with self._lock:
            found.receiver = self._receiver_cores(uuid, asked, host, found.warnings)
            self._receivers[uuid] = found

    def pin(self, uuid: str, asked: Cores, processes: bool = True) -> Pinned:
        """Pin the threads that process; return all cores that an acquisition has got.

        Parameters
        ----------
        uuid, asked:
            The acquisition, and what it wants.
        processes:
            Whether this worker processes any of it.
        """
        with self._lock:
            found = self._receivers.get(uuid, Pinned())
            if processes:
                wanted = self._processing_cores(asked, found.warnings)
                found.processing = self._want(uuid, wanted, found.warnings)
        return found

    def release(self, uuid: str) -> None:
        """Let others have the cores of an acquisition."""
        with self._lock:
            if claim := self._claims.pop(uuid, None):
                claim.release()
            self._receivers.pop(uuid, None)
            if self._wanted.pop(uuid, None) and (refusal := self._apply()):
                logger.warning("threads stay where they are: %s", refusal)

    def _receiver_cores(self, uuid: str, asked: Cores, host: str, warnings: list[str]) -> Numbers:
        allowed = allowed_cores()
        if asked != "auto":
            return _numbers("receiver", asked, allowed, warnings)
        if len(allowed) < 2:
            warnings.append(
                f"affinity.receiver auto: the worker may use the cores {sorted(allowed)} alone, so "
                f"none is for its receiver; start it with more"
            )
            return frozenset()
        near = near_cores(host)
        # from the last: the system serves interrupts on the first, unless it is told otherwise
        order = sorted(allowed, key=lambda core: (core in near, core), reverse=True)
        claim = claim_one(order)
        if claim is None:
            warnings.append(
                f"affinity.receiver auto: other receivers of this computer have all the cores "
                f"{sorted(allowed)}; use fewer receivers, or give the cores as numbers"
            )
            return frozenset()
        self._claims[uuid] = claim
        return frozenset({claim.core})

    def _processing_cores(self, asked: Cores, warnings: list[str]) -> Numbers:
        allowed = allowed_cores()
        if asked != "auto":
            return _numbers("processing", asked, allowed, warnings)
        left = unclaimed(allowed)
        if not left:
            warnings.append(
                f"affinity.processing auto: receivers have all the cores {sorted(allowed)} that "
                f"the worker may use; threads are not pinned"
            )
        return left

    def _want(self, uuid: str, wanted: Numbers, warnings: list[str]) -> Numbers:
        """Pin the threads that process, unless another acquisition has; return where they are."""
        if wanted:
            self._wanted[uuid] = wanted
        holder = self._holder()
        if wanted and wanted != holder:
            warnings.append(
                f"affinity.processing: another acquisition has the threads on the cores "
                f"{sorted(holder)}, not {sorted(wanted)}, until it is released"
            )
        elif wanted and (refusal := self._apply()):
            del self._wanted[uuid]
            warnings.append(f"affinity.processing: the system refuses {sorted(wanted)}: {refusal}")
        return self._holder()

    def _holder(self) -> Numbers:
        """Return the cores that the threads which process are to be on; empty for any."""
        return next(iter(self._wanted.values()), frozenset())

    def _apply(self) -> str:
        """Pin the threads; return why it cannot be done, empty if it could."""
        cores = self._holder() or allowed_cores()
        for thread in self._pool.threads:
            try:
                with suppress(ProcessLookupError):  # it has ended
                    pin_thread(cores, thread)
            except OSError as error:
                return str(error)
        return ""


def _numbers(which: str, asked: Cores, allowed: Numbers, warnings: list[str]) -> Numbers:
    """Return those cores that the worker may use, of some numbers or ``none``."""
    if isinstance(asked, str):
        return frozenset()
    missing = [one for one in asked if one not in allowed]
    here = os.cpu_count() or 1
    why = {
        "this computer has no core": [one for one in missing if one >= here],
        "cgroup, cpuset or taskset keep the worker from": [one for one in missing if one < here],
    }
    found = allowed.intersection(asked)
    rest = f"pinned to {sorted(found)}" if found else "not pinned"
    warnings += [
        f"affinity.{which}: {reason} {', '.join(map(str, lacking))}; it may use {sorted(allowed)}. "
        f"Threads are {rest}"
        for reason, lacking in why.items()
        if lacking
    ]
    return found
