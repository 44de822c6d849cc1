"""The first notebook, executed in a real kernel with a live client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent.parent.parent / "examples" / "first_acquisition.py"


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    """The notebook with its outputs; a cell that raises fails here."""
    notebook = jupytext.read(NOTEBOOK)
    folder = tmp_path_factory.mktemp("notebook")
    runner = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}})
    executed: nbformat.NotebookNode = runner.execute()
    return executed


def output(notebook: nbformat.NotebookNode, source: str, kind: str) -> str:
    """What the first cell that has a line beginning with ``source`` shows."""
    cell = next(
        one
        for one in notebook.cells
        if one.cell_type == "code"
        and any(f"{row}\n".startswith(source) for row in one.source.split("\n"))
    )
    shown: list[Any] = [one.data[kind] for one in cell.outputs if kind in one.get("data", {})]
    shown += [one.text for one in cell.outputs if kind == "text/plain" and one.get("text")]
    return "".join(shown)


def test_the_parts_of_an_acquisition_show_themselves(executed: nbformat.NotebookNode) -> None:
    pipeline = output(executed, "camera = ", "text/html")
    assert all(name in pipeline for name in ("mirrored", "centre", "intensity", "file", "live"))
    parameters = output(executed, "acq.parameters", "text/html")
    assert all(name in parameters for name in ("user", "hardware", "expo_time", "mirrored"))
    assert "processed" in output(executed, "acq\n", "text/html")
    assert "present" in output(executed, "acq.record()", "text/html")
    assert "<svg" in output(executed, "latest = ", "text/html")
    assert "absent" in output(executed, "second.record()", "text/html")
    assert "det_y" in output(executed, "saved = ", "text/html")


def test_events_are_awaited_in_the_kernel(executed: nbformat.NotebookNode) -> None:
    told = output(executed, "async for", "text/plain")
    assert "state='acquiring'" in told
    assert "state='acquired'" in told
    assert "FileClosed" in told
    assert "state='processed'" in told


def test_the_pictures_are_drawn(executed: nbformat.NotebookNode) -> None:
    for cell in ("intensity = ", "drawn = "):
        assert output(executed, cell, "image/png")


def test_causes_are_in_the_file(executed: nbformat.NotebookNode) -> None:
    told = output(executed, 'print(saved["frame_status"]', "text/plain")
    assert told.count("'detector'") == 2  # frames 3 and 4 of the first eight
