"""The table that renews itself: here, and in a notebook."""

from __future__ import annotations

import threading

import nbformat
import pytest
from distributed import Client
from nbclient import NotebookClient

import limadask as ld
from limadask.cli.resources import watched

BOUND = 30.0
SETUP = """\
import limadask as ld
from distributed import Client
client = Client({address!r}, set_as_default=False)
live = ld.LiveResources(client, every=0.2)
"""
SHOWN = """\
from IPython.display import display
display(live)
assert live.next(30.0) is not None
assert live.next(30.0) is not None
live.stop()
"""
CLOSE = "client.close()"


def threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name == "limadask-live"]


def test_it_is_renewed_until_it_is_stopped(client: Client) -> None:
    with ld.LiveResources(client, every=0.1) as live:
        first = live.latest
        second = live.next(BOUND)
        assert second is not None
        assert second is not first
        assert second["answers"].all()
        assert "does not answer" not in repr(live)
    assert live.note == "stopped"
    assert repr(live).endswith("\nstopped")
    assert "stopped" in live._repr_html_()
    assert live.next(BOUND) is None
    assert threads() == []


def test_it_ends_by_itself(client: Client) -> None:
    live = ld.LiveResources(client, every=0.1, seconds=0.15)
    while live.next(BOUND) is not None:
        pass
    assert live.note == "ended: its time is over"
    live.stop()
    assert threads() == []


def test_it_ends_with_its_client(client: Client) -> None:
    with Client(client.scheduler.address, set_as_default=False) as mine:
        live = ld.LiveResources(mine, every=0.1)
        assert live.next(BOUND) is not None
    while live.next(BOUND) is not None:
        pass
    assert live.note.startswith("ended: ")
    assert live.latest["answers"].all()
    live.stop()


def test_a_period_that_is_too_short_is_refused(client: Client) -> None:
    with pytest.raises(ld.ConfigError, match=r"every: is too short.*0.01"):
        ld.LiveResources(client, every=0.01)


def test_in_a_notebook_it_is_renewed_where_it_is_shown(client: Client) -> None:
    cells = [SETUP.format(address=client.scheduler.address), SHOWN, CLOSE]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(one) for one in cells])
    NotebookClient(notebook, timeout=120).execute()
    outputs = notebook.cells[1].outputs
    shown = [one for one in outputs if one.output_type == "display_data"]
    assert len(shown) == 1  # one place
    page, text = shown[0].data["text/html"], shown[0].data["text/plain"]
    assert "limadask-resources" in page
    assert "stopped" in page  # as it was last, not as it was first
    assert text.startswith("worker")
    assert text.endswith("stopped")


def test_the_command_line_watches_table_by_table(client: Client) -> None:
    tables = watched(client)
    first, second = next(tables), next(tables)
    assert first is not second
    assert second["answers"].all()
    tables.close()
    assert threads() == []
