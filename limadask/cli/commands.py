"""The commands: our own, and those that plugins bring."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

import click

from limadask.registry import warn_skipped

GROUP = "limadask.commands"


class Commands(click.Group):
    """Loads a plugin's command when it is asked for, not before: its module may import ours."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted({*super().list_commands(ctx), *_plugins()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; None where there is no such one, or it cannot be loaded."""
        if found := super().get_command(ctx, cmd_name):
            return found
        entry = _plugins().get(cmd_name)
        return _load(entry) if entry else None


def _plugins() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def _load(entry: EntryPoint) -> click.Command | None:
    try:
        loaded = entry.load()
        if not isinstance(loaded, click.Command):
            raise TypeError(f"{entry.value} is no command of click")
    except (Exception, SystemExit) as error:  # any code may run at import
        warn_skipped("command", entry, error)
        return None
    return loaded
