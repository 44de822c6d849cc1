"""Full frames from the parts of several receivers."""

from __future__ import annotations

from limadask.task import Assembling


class Assemble(Assembling):
    """Put the modules' parts of each frame together, placed by their grids.

    Where ``topology.dispatch`` is ``partial`` it makes ``input`` the full frame, dims
    ``(frame, band, y, x)``, made once, on a processing worker, wherever it stands in the pipeline;
    without it each part is processed and saved apart. Pixels of no module are masked. A frame that
    some module is missing from is *partial*: its pixels there are invalid, and the ledger tells
    the cause. Full frames pass unchanged.
    """
