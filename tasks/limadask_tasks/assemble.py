"""Full frames from the parts of several receivers."""

from __future__ import annotations

from limadask.task import Assembling


class Assemble(Assembling):
    """Put the modules' parts of each frame together, placed by their grids.

    Needed directly after ``input`` where ``topology.dispatch`` is ``partial``: ``input`` is then
    the full frame, dims ``(frame, band, y, x)``, made once, on a processing worker. Pixels of no
    module are masked. A frame that some module is missing from is *partial*: its pixels there are
    invalid, and the ledger tells the cause. Full frames pass unchanged.
    """
