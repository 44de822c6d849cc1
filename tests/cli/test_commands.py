"""Commands of plugins: loaded when they are asked for, and skipped where they are broken."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest
from click.testing import CliRunner

from limadask.cli import commands, main
from limadask.registry import PluginWarning


@pytest.fixture
def _broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that two plugins are installed that bring no command."""
    entries = [
        EntryPoint("gone", "limadask_nowhere:gone", commands.GROUP),
        EntryPoint("number", "math:pi", commands.GROUP),
    ]
    monkeypatch.setattr(commands, "entry_points", lambda group: entries)


@pytest.mark.usefixtures("_broken")
@pytest.mark.parametrize("name", ["gone", "number"])
def test_a_broken_command_is_skipped_with_a_warning(name: str) -> None:
    with pytest.warns(PluginWarning, match=f"command '{name}'.*is skipped"):
        done = CliRunner().invoke(main, [name])
    assert done.exit_code == 2
    assert "No such command" in done.output


@pytest.mark.usefixtures("_broken")
def test_the_others_are_listed_all_the_same() -> None:
    with pytest.warns(PluginWarning):
        done = CliRunner().invoke(main, ["--help"])
    assert done.exit_code == 0
    assert "recover" in done.output
    assert "number" not in done.output


@pytest.mark.parametrize("module", ["limadask_benchmarks.demo", "limadask.cli"])
def test_a_plugin_s_module_may_be_imported_first(module: str) -> None:
    program = f"import {module}; from limadask.cli import main; main(['demo', '--help'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "EIGER2" in done.stdout
