"""How things look in a notebook; the templates are Dask's kind, filled by Jinja.

The things call these functions, which know them only by their attributes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from dask.widgets import TEMPLATE_PATHS, get_template
from pydantic import BaseModel

from limadask.descriptions import descriptions
from limadask.monitoring.picture import colours, labels
from limadask.monitoring.rows import HEADS, rows
from limadask.monitoring.waterfall import bars

TEMPLATE_PATHS.append(str(Path(__file__).parent / "templates"))
_IN_SOFTWARE = {"crop": "roi", "bin": "binning", "flip": "flip", "rotate": "rotation"}
"""Tasks in front of ``input``, and the parameters that they do where the detector does not."""
_COLOURS = {"present": "#4c9f70", "partial": "#e0a030", "absent": "#c0504d", "vetoed": "#7f7f9f"}


def pipeline_html(pipeline: Any) -> str:
    """Return a pipeline as a tree of its nodes."""
    return _filled("pipeline.html.j2", text=str(pipeline))


def grid_html(grid: Any) -> str:
    """Return a grid as a drawing: the image's outline and its first pixel on the detector."""
    rows, columns = grid.shape
    corners = [(-0.5, -0.5), (-0.5, columns - 0.5), (rows - 0.5, columns - 0.5), (rows - 0.5, -0.5)]
    points = np.array([grid(y, x) for y, x in corners])
    low, high = points.min(axis=0), points.max(axis=0)
    size = np.maximum(high - low, 1)
    margin = 0.08 * size.max()
    box = (low[1] - margin, low[0] - margin, size[1] + 2 * margin, size[0] + 2 * margin)
    return _filled(
        "grid.html.j2",
        grid=grid,
        box=" ".join(f"{value:g}" for value in box),
        outline=" ".join(f"{x:g},{y:g}" for y, x in points),
        origin=grid(0, 0),
        radius=0.02 * size.max(),
        matrix=grid.affine.matrix,
        corners=[tuple(map(float, corner)) for corner in (low, high)],
    )


def model_html(model: Any) -> str:
    """Return the fields of a model: their values, and what they are."""
    kind: type[BaseModel] = type(model)
    about = descriptions(kind)
    rows = [
        {"name": name, "value": _shown(getattr(model, name)), "about": _line(about.get(name))}
        for name in kind.model_fields
    ]
    return _filled("model.html.j2", name=kind.__name__, rows=rows)


def parameters_html(sets: Any) -> str:
    """Return what was asked, taken by the detector and done in software side by side.

    The nodes of the pipeline follow.
    """
    asked = sets.user.model_dump(mode="json")
    taken = sets.hardware.model_dump(mode="json") if sets.hardware else {}
    done = _in_software(sets.software) if sets.software else {}
    rows = [
        {
            "name": name,
            "user": _shown(asked.get(name, "")),
            "hardware": _shown(taken.get(name, "")),
            "software": _shown(done.get(name, "")),
            "differs": bool(taken) and name in asked and asked[name] != taken.get(name),
        }
        for name in dict.fromkeys([*asked, *taken, *done])
    ]
    nodes = (*sets.software.before_input, *sets.software.nodes) if sets.software else ()
    return _filled("parameters.html.j2", rows=rows, nodes=nodes, is_prepared=bool(sets.software))


def ledger_html(ledger: Any) -> str:
    """Return a ledger as a coloured bar and a table of what is not present."""
    total = max(len(ledger), 1)
    bars = [
        {
            "x": 100 * run.first / total,
            "width": max(100 * (run.stop - run.first) / total, 0.2),
            "colour": _COLOURS[run.status.name.lower()],
        }
        for run in ledger.runs()
    ]
    lost = [run for run in ledger.runs() if run.status.name != "PRESENT"]
    return _filled(
        "ledger.html.j2",
        bars=bars[:2000],
        counts=ledger.counts(),
        colours=_COLOURS,
        lost=lost[:20],
        more=max(0, len(lost) - 20),
        total=len(ledger),
    )


def resources_html(table: Any, note: str = "") -> str:
    """Return what the workers use as a table, with a bar for each stage's memory."""
    return _filled("resources.html.j2", rows=rows(table), heads=HEADS, note=note)


def waterfall_html(times: Any, blocks: int = 40) -> str:
    """Return where the last blocks spent their time: a row for each, as a drawing."""
    shown = times.isel(block=slice(-blocks, None))
    drawn = list(bars(shown))
    begin = min((bar.begin for bar in drawn), default=0.0)
    end = max((bar.begin + bar.duration for bar in drawn), default=1.0)
    scale = 1000 / max(end - begin, 1e-9)
    colour = colours([str(one) for one in shown["stage"].values])
    names = [f"{first}–{last} on {worker}" for first, last, worker in labels(shown)]
    made = [
        {
            "row": bar.row,
            "x": scale * (bar.begin - begin),
            "width": scale * bar.duration,
            "colour": colour[bar.stage],
            "title": f"{names[bar.row]}, {bar.stage}: {1e3 * bar.duration:.3g} ms",
        }
        for bar in drawn
    ]
    return _filled(
        "waterfall.html.j2", bars=made, rows=len(names), begin=begin, end=end, colours=colour
    )


def acquisition_html(acquisition: Any) -> str:
    """Return where an acquisition stands, with its parameters and its ledger."""
    detector, processing = acquisition.state
    return _filled(
        "acquisition.html.j2",
        uuid=acquisition.uuid,
        detector=detector,
        processing=processing,
        files=acquisition.files,
        ledger=ledger_html(acquisition.record()),
        parameters=parameters_html(acquisition.parameters),
        waterfall="" if detector == "idle" else waterfall_html(acquisition.waterfall),
    )


def _in_software(software: Any) -> dict[str, Any]:
    """Return what the pipeline does, by the names that users and detectors have for it."""
    before = {_IN_SOFTWARE[one.task]: one.parameters for one in software.before_input}
    return {
        **before,
        "dtype": software.input_dtype,
        "shape": list(software.input_grid.shape),
        "nb_frames_per_block": software.nb_frames_per_block,
        "nb_slots": software.nb_slots,
        "pool_nbytes": f"{software.pool_nbytes / 2**20:.3g} MiB",
        "receivers": ", ".join(software.receivers) or None,
        "processors": ", ".join(software.processors) or None,
    }


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {one}" for key, one in value.items() if one is not None)
    return "—" if value is None else str(value)


def _line(text: str | None) -> str:
    return " ".join((text or "").replace("``", "").split())


def _filled(template: str, **values: Any) -> str:
    return str(get_template(template).render(**values))
