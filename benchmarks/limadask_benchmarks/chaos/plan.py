"""Who is killed, and when."""

from __future__ import annotations

from dataclasses import dataclass

from limadask.parameters import Topology

KINDS = ("receiver", "processor", "scheduler", "client", "local")
"""``local``: the client of a LocalCluster, whose scheduler lives in it."""
TOPOLOGIES = {
    "single": Topology(workers=2, roles="separate"),
    "shared": Topology(receivers=2, workers=2, dispatch="round_robin"),
    "round_robin": Topology(receivers=2, workers=2, roles="separate", dispatch="round_robin"),
    "dynamic": Topology(receivers=2, workers=2, roles="separate", dispatch="dynamic"),
    "broadcast": Topology(receivers=2, workers=2, roles="separate", dispatch="broadcast"),
    "apart": Topology(receivers=2, workers=2, dispatch="partial"),
    "apart_separate": Topology(receivers=2, workers=2, roles="separate", dispatch="partial"),
    "assembled": Topology(receivers=2, workers=2, roles="separate", dispatch="partial"),
}
"""What runs are like; ``assembled`` puts parts together."""
PHASES = ("prepare", "acquiring", "flushing", "closing")


@dataclass(frozen=True, slots=True)
class Kill:
    """One SIGKILL.

    Parameters
    ----------
    kind:
        Who gets it.
    phase:
        In which phase of the run.
    moment:
        Where in the phase, 0 to 1.
    topology:
        What the run is like, one of :data:`TOPOLOGIES`.
    """

    kind: str
    phase: str
    moment: float
    topology: str = "single"

    def __str__(self) -> str:
        return f"{self.topology}: {self.kind} killed, {self.phase} at {self.moment:.2f}"

    def is_due(self, told: list[str]) -> bool:
        """Tell from a line of the logger whether it is time, apart from a delay.

        Parameters
        ----------
        told:
            Words of the line: ``saved FIRST LAST``, or ``state SIDE STATE``.
        """
        if self.phase == "closing":
            return told[0] == "state" and told[2] in ("acquired", "closing")
        # "acquiring" strikes after some frames, "flushing" in the next flush after them
        return told[0] == "saved" and int(told[2]) >= self.moment * NB_FRAMES * 0.9

    @property
    def delay(self) -> float:
        """Seconds to wait then."""
        most = {"prepare": 1.0, "acquiring": 0.02, "flushing": 0.002, "closing": 0.1}
        return most[self.phase] * self.moment


NB_FRAMES = 300
SHAPE = (128, 96)
PER_BLOCK = 4
EXPO_TIME = 2e-3
LOSSY = tuple(range(5, NB_FRAMES, 13))
"""Frames that lose packets."""
FAILING = (61, 150, 236)
"""Frames that a task before the saver raises for."""
