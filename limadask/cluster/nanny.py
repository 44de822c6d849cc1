"""limadask on a Dask nanny: a witness on the computer of every worker that has one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distributed import Nanny
from distributed.diagnostics.plugin import NannyPlugin

from limadask.cluster.pulse import is_frozen


class LimadaskNanny(NannyPlugin):  # type: ignore[misc]
    """Tells of the process of a worker that says nothing itself, also where it is the only one."""

    name = "limadask"
    idempotent = True

    def setup(self, nanny: Nanny) -> None:
        """Install the handler."""
        nanny.handlers["limadask_look"] = look


async def look(process: Sequence[Any]) -> dict[str, Any]:
    """Tell whether a process is frozen, None if it cannot be seen from here."""
    return {"result": is_frozen((int(process[0]), float(process[1])))}
