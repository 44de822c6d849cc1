"""How an acquisition ended, as plain data and as text."""

from __future__ import annotations

from typing import Any

from limadask.acquisition.acquisition import Acquisition
from limadask.frames import Status


def summary(acquisition: Acquisition) -> dict[str, Any]:
    """Return the end of a run as plain data.

    Returns
    -------
    dict
        ``uuid``, ``state`` (``done``, ``stopped`` or ``failed``), ``nb_frames``, ``frames`` (how
        many are ``present``, ``partial``, ``absent``, ``vetoed``), ``absent``, ``partial`` and
        ``vetoed`` (lists of ``[first, last, cause]``), ``files`` (master by node), ``elapsed`` (s),
        ``fps`` (frames acquired by acquiring time), ``failures`` (what tasks raised, in words),
        ``error``.
    """
    status, ledger = acquisition.statistics(), acquisition.record()
    acquiring = status["acquired"] - status["began"]
    ended = status["ended"] or status["acquired"]
    return {
        "uuid": acquisition.uuid,
        "state": status["outcome"],
        "nb_frames": len(ledger),
        "frames": ledger.counts(),
        **{
            fate.name.lower(): [list(run) for run in ledger.ranges(fate)]
            for fate in (Status.ABSENT, Status.PARTIAL, Status.VETOED)
        },
        "files": dict(status["files"]),
        "elapsed": round(max(0.0, ended - status["began"]), 3) if status["began"] else 0.0,
        "fps": round(status["received"] / acquiring, 2) if acquiring > 0 else 0.0,
        "failures": ledger.failures.lines(),
        "error": status["error"] or None,
    }


def as_text(told: dict[str, Any]) -> str:
    """Return a summary for people."""
    counts = ", ".join(f"{count} {fate}" for fate, count in told["frames"].items() if count)
    lines = [
        f"{told['state']}: {told['nb_frames']} frames ({counts or 'none'})",
        f"  {told['elapsed']:.1f} s, {told['fps']:.0f} frames/s acquired",
    ]
    for fate in ("absent", "partial", "vetoed"):
        shown = told[fate][:10]
        lines += [f"  {fate} {first}–{last}: {cause}" for first, last, cause in shown]
        if len(told[fate]) > len(shown):
            lines.append(f"  … and {len(told[fate]) - len(shown)} more ranges {fate}")
    lines += [f"  {line}" for line in told["failures"][:10]]
    if len(told["failures"]) > 10:
        lines.append(f"  … and {len(told['failures']) - 10} more failures")
    lines += [f"  {node}: {path}" for node, path in told["files"].items()]
    if told["error"]:
        lines.append(f"  error: {told['error']}")
    return "\n".join(lines)
