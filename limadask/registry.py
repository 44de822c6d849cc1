"""Names of tasks, detectors and allocators: the only way from a word in YAML to code."""

from __future__ import annotations

import warnings
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from limadask.detector import Detector
from limadask.errors import ConfigError
from limadask.memory import NamedAllocator
from limadask.task import Task

TASKS, DETECTORS, ALLOCATORS = "limadask.tasks", "limadask.detectors", "limadask.allocators"


class PluginWarning(UserWarning):
    """A plugin that cannot be used, and why; the others go on."""


def task(name: str) -> type[Task]:
    """Return the task class of this name."""
    found: type[Task] = _find(TASKS, "task", name, Task)
    return found


def detector(name: str) -> type[Detector]:
    """Return the detector class of this name."""
    found: type[Detector] = _find(DETECTORS, "detector", name, Detector)
    return found


def allocator(name: str) -> type[NamedAllocator]:
    """Return the allocator class of this name."""
    found: type[NamedAllocator] = _find(ALLOCATORS, "allocator", name, NamedAllocator)
    return found


def tasks() -> dict[str, type[Task]]:
    """Return all tasks that can be loaded, by name."""
    return _load_all(TASKS, Task)


def detectors() -> dict[str, type[Detector]]:
    """Return all detectors that can be loaded, by name."""
    return _load_all(DETECTORS, Detector)


def allocators() -> dict[str, type[NamedAllocator]]:
    """Return all allocators that can be loaded, by name."""
    return _load_all(ALLOCATORS, NamedAllocator)


def detector_name(value: Detector) -> str:
    """Return the name under which a detector is registered, or its class's name."""
    for name, entry in _entries(DETECTORS).items():
        if entry.value == f"{type(value).__module__}:{type(value).__qualname__}":
            return name
        if entry.value.rpartition(":")[2] == type(value).__qualname__ and _loads_to(entry, value):
            return name
    return type(value).__name__.lower()


def distributions() -> dict[str, str]:
    """Return name and version of every distribution that brings a plugin."""
    found = {}
    for group in (TASKS, DETECTORS, ALLOCATORS):
        for entry in _entries(group).values():
            if entry.dist is not None:
                found[entry.dist.name] = entry.dist.version
    return found


@cache
def _entries(group: str) -> dict[str, EntryPoint]:
    """Return entry points by name, none of them loaded."""
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            warnings.warn(
                f"two plugins are called {entry.name!r}: {other.value} is used, "
                f"{entry.value} is not",
                PluginWarning,
                stacklevel=2,
            )
    return found


def _find(group: str, kind: str, name: str, base: type[Any]) -> Any:
    entries = _entries(group)
    if name not in entries:
        message = f"no {kind} of this name is installed"
        raise ConfigError(message, field="type", value=name, allowed=sorted(entries))
    try:
        return _load(entries[name], base)
    except (Exception, SystemExit) as error:
        message = f"the plugin {entries[name].value} cannot be loaded: {error}"
        raise ConfigError(message, field="type", value=name, allowed=sorted(entries)) from error


def _load(entry: EntryPoint, base: type[Any]) -> Any:
    loaded = entry.load()
    if not (isinstance(loaded, type) and issubclass(loaded, base)):
        raise TypeError(f"{entry.value} is not a {base.__name__}")
    return loaded


def _load_all(group: str, base: type[Any]) -> dict[str, Any]:
    loaded = {}
    for name, entry in sorted(_entries(group).items()):
        try:
            loaded[name] = _load(entry, base)
        except (Exception, SystemExit) as error:  # any code may run at import
            warn_skipped("plugin", entry, error)
    return loaded


def warn_skipped(what: str, entry: EntryPoint, error: BaseException) -> None:
    """Warn of something that another package brings and that cannot be loaded."""
    warnings.warn(
        f"{what} {entry.name!r} ({entry.value}) is skipped: {type(error).__name__}: {error}",
        PluginWarning,
        stacklevel=3,
    )


def _loads_to(entry: EntryPoint, value: Detector) -> bool:
    try:
        return entry.load() is type(value)
    except (Exception, SystemExit):  # another plugin's trouble is told where it is used
        return False
