"""What is written down of an acquisition: parameter sets, detector and metadata."""

from __future__ import annotations

from typing import Any

from limadask.engine.messages import Prepared, Request
from limadask.ledger import Ledger
from limadask.monitoring.waterfall import waterfall
from limadask.parameters import SoftwareParameters
from limadask.task import RunRecord
from limadask.timeseries import TimeSeries


def about(request: Request, prepared: Prepared, software: SoftwareParameters) -> dict[str, Any]:
    """Return parameter sets, detector and metadata as plain data."""
    return {
        "parameters": {
            "user": request.asked.model_dump(mode="json"),
            "hardware": prepared.hardware.model_dump(mode="json"),
            "software": software.model_dump(mode="json"),
        },
        "detector": {
            **prepared.info.model_dump(mode="json"),
            "parameters": request.detector.model_dump(mode="json"),
        },
        "metadata": request.metadata,
    }


def record(
    request: Request, prepared: Prepared, software: SoftwareParameters, told: dict[str, Any]
) -> RunRecord:
    """Complete what the coordinator has ``told`` of a run's end by what a worker knows."""
    known = dict(told)
    software = software.told_by(known["receivers"], known["workers"], known.pop("settings"))
    series = {name: TimeSeries.load(one) for name, one in told["series"].items()}
    return RunRecord(
        **{
            **known,
            "ledger": Ledger.load(told["ledger"]),
            "series": series,
            "waterfall": waterfall(told["waterfall"]),
        },
        **about(request, prepared, software),
    )
