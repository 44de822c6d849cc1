"""What cannot be done when memory is full is refused before any frame."""

from __future__ import annotations

from limadask.engine.messages import Request
from limadask.errors import ConfigError
from limadask.pipeline import Plan


def check_overrun(request: Request, can_pause: bool, planned: Plan) -> None:
    """Refuse a policy that the detector, the topology or the pipeline does not allow.

    Parameters
    ----------
    request, planned:
        What was asked, and the pipeline.
    can_pause:
        Whether the exposures can be paused.

    Raises
    ------
    ConfigError
        Naming the policy's field.
    """
    policy, topology = request.policy, request.topology
    is_matched = topology.dispatch == "partial" and not request.is_apart
    if policy.on_overrun == "pause" and not can_pause:
        raise _refusal(
            "the detector cannot be paused: it goes on by itself",
            "on_overrun", "pause", "wait, drop, hold, abort; pause with trigger_mode software",
        )  # fmt: skip
    if policy.on_overrun == "hold" and topology.dispatch == "partial":
        raise _refusal(
            "parts of frames cannot be held on disk", "on_overrun", "hold",
            "wait, pause, drop, abort; hold with another dispatch",
        )  # fmt: skip
    if policy.drop == "oldest" and (is_matched or planned.nb_merged > 1 or planned.in_order):
        why = "parts of frames wait for each other" if is_matched else "a task needs all in order"
        raise _refusal(
            f"the oldest frames cannot be let go: {why}", "drop", "oldest", "newest, {every: n}"
        )


def _refusal(text: str, field: str, value: str, allowed: str) -> ConfigError:
    return ConfigError(text, node="policy", field=field, value=value, allowed=allowed)
