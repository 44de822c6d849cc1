"""Plugins are found by their entry points; a broken one stops nobody else."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from limadask import registry
from limadask.detector import Detector
from limadask.errors import ConfigError
from limadask.parameters import Buffers
from limadask.registry import PluginWarning
from limadask_detectors import Replay, Simulator
from limadask_tasks import Flip

GOOD = """
from limadask import Detector, Task

class Twice(Task):
    "Doubles."

class Thrice(Task):
    "Triples."

class Lamp(Detector):
    "Shines."
"""
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install distributions as pip would, for one test."""
    known = set(sys.modules)

    def install(name: str, code: str = "", version: str = "1.0", **groups: dict[str, str]) -> None:
        site = tmp_path / name
        folder = site / f"{name}-{version}.dist-info"
        folder.mkdir(parents=True)
        (site / f"{name}.py").write_text(code)
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        lines = []
        for group, entries in groups.items():
            lines += [f"[limadask.{group}]", *(f"{key} = {at}" for key, at in entries.items())]
        (folder / "entry_points.txt").write_text("\n".join(lines))
        monkeypatch.syspath_prepend(site)
        registry._entries.cache_clear()

    yield install
    registry._entries.cache_clear()
    for name in set(sys.modules) - known:
        if name.startswith("plug_"):
            del sys.modules[name]


def test_a_third_partys_plugins_are_found_as_ours_are(install: Install) -> None:
    install(
        "plug_good", GOOD, "2.5",
        tasks={"twice": "plug_good:Twice"}, detectors={"lamp": "plug_good:Lamp"},
    )  # fmt: skip
    assert registry.task("twice").__name__ == "Twice"
    assert registry.tasks()["twice"] is registry.task("twice")
    assert registry.task("flip") is Flip
    assert registry.detector("lamp") is registry.detectors()["lamp"]
    assert set(registry.detectors()) == {"dectris", "lamp", "replay", "simulator"}
    assert registry.distributions()["plug_good"] == "2.5"
    assert "limadask" in registry.distributions()


def test_what_is_not_asked_for_is_not_imported(install: Install) -> None:
    install("plug_idle", GOOD, tasks={"twice": "plug_idle:Twice"})
    registry.task("flip")
    registry.detectors()
    registry.distributions()
    assert "plug_idle" not in sys.modules
    registry.task("twice")
    assert "plug_idle" in sys.modules


BROKEN = {
    "no module": ("", "plug_nowhere:Twice", "ModuleNotFoundError: No module named"),
    "a dependency missing": ("import surely_not_there", "plug_bad:Twice", "surely_not_there"),
    "no such name": (GOOD, "plug_bad:Twize", "AttributeError.*Twize"),
    "a module": (GOOD, "plug_bad", "TypeError: plug_bad is not a Task"),
    "an instance": (GOOD + "x = Twice()", "plug_bad:x", "TypeError: plug_bad:x is not a Task"),
    "a function": ("def f(block): return block", "plug_bad:f", "plug_bad:f is not a Task"),
    "a detector": (GOOD, "plug_bad:Lamp", "plug_bad:Lamp is not a Task"),
    "raises": ("1 / 0", "plug_bad:Twice", "ZeroDivisionError: division by zero"),
    "exits": ("raise SystemExit('no licence')", "plug_bad:Twice", "SystemExit: no licence"),
    "no Python": ("def", "plug_bad:Twice", "SyntaxError"),
    "no place": (GOOD, "not a place", "is skipped"),
}
"""The module's code, the entry point, and what is said of it."""


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_skipped_with_a_warning(install: Install, case: str) -> None:
    code, entry, said = BROKEN[case]
    install("plug_good", GOOD, tasks={"zz_thrice": "plug_good:Thrice", "aa": "plug_good:Twice"})
    install("plug_bad", code, tasks={"broken": entry})
    with pytest.warns(PluginWarning, match=said) as caught:
        found = registry.tasks()
    assert len(caught) == 1
    assert str(caught[0].message).startswith(f"plugin 'broken' ({entry}) is skipped: ")
    assert "broken" not in found
    assert {"aa", "zz_thrice", "flip"} <= set(found)


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_that_is_asked_for_is_an_error(install: Install, case: str) -> None:
    code, entry, _ = BROKEN[case]
    install("plug_bad", code, tasks={"broken": entry})
    with pytest.raises(ConfigError, match="cannot be loaded") as caught:
        registry.task("broken")
    error = caught.value
    assert (error.field, error.value) == ("type", "broken")
    assert entry in error.message
    assert registry.task("flip") is Flip  # and nobody is told of a plugin they do not use


def test_a_broken_detector_is_skipped_too(install: Install) -> None:
    install("plug_bad", GOOD, detectors={"odd": "plug_bad:Twice", "lamp": "plug_bad:Lamp"})
    with pytest.warns(PluginWarning, match="plug_bad:Twice is not a Detector"):
        assert set(registry.detectors()) == {"dectris", "lamp", "replay", "simulator"}
    with pytest.raises(ConfigError, match="plug_bad:Twice is not a Detector"):
        registry.detector("odd")


ALLOCATOR = """
from typing import ClassVar
from limadask.memory import NamedAllocator, PageAllocator

class Region(PageAllocator):
    "Maps a region."
    name: ClassVar[str] = "region"
    device: str
"""
OURS = {"huge", "locked", "managed", "mapped", "numa", "pages", "pinned", "shared"}


def test_a_third_partys_allocator_is_found_as_ours_are(install: Install) -> None:
    install("plug_memory", ALLOCATOR, allocators={"region": "plug_memory:Region"})
    assert registry.allocator("region") is registry.allocators()["region"]
    assert set(registry.allocators()) == {*OURS, "region"}
    assert "plug_memory" in registry.distributions()
    for name in OURS:
        assert registry.allocator(name).name == name
    given = Buffers(allocator={"type": "region", "device": "/dev/x"})
    assert given.allocator == registry.allocator("region")(device="/dev/x")
    assert given.model_dump()["allocator"] == {"type": "region", "device": "/dev/x"}
    with pytest.raises(ConfigError, match="required") as caught:
        Buffers(allocator="region")
    assert caught.value.field == "allocator.device"


def test_a_broken_allocator_is_skipped_and_an_error_only_where_it_is_asked_for(
    install: Install,
) -> None:
    install("plug_bad", GOOD, allocators={"odd": "plug_bad:Twice"})
    with pytest.warns(PluginWarning, match="plug_bad:Twice is not a NamedAllocator"):
        assert set(registry.allocators()) == OURS
    with pytest.raises(ConfigError, match="plug_bad:Twice is not a NamedAllocator") as caught:
        Buffers(allocator="odd")
    assert (caught.value.field, caught.value.value) == ("allocator", "odd")
    assert caught.value.allowed == sorted({"auto", "odd", *OURS})


def test_two_plugins_of_one_name_are_told_once_and_the_first_is_used(install: Install) -> None:
    install("plug_second", GOOD, tasks={"twice": "plug_second:Twice"})
    install("plug_first", GOOD, tasks={"twice": "plug_first:Thrice"})  # earlier on the path
    with pytest.warns(PluginWarning, match="two plugins are called 'twice'") as caught:
        used = registry.task("twice")
    assert used.__module__ == "plug_first"
    assert "plug_first:Thrice is used, plug_second:Twice is not" in str(caught[0].message)
    assert len(caught) == 1
    assert registry.task("twice") is used  # and no further warning


def test_a_name_of_ours_can_be_taken_but_not_in_silence(install: Install) -> None:
    install("plug_rude", GOOD, tasks={"flip": "plug_rude:Twice"})
    with pytest.warns(PluginWarning, match="two plugins are called 'flip'"):
        registry.task("flip")


def test_one_plugin_found_twice_is_no_quarrel(install: Install) -> None:
    install("plug_good", GOOD, tasks={"twice": "plug_good:Twice"})
    install("plug_copy", GOOD, tasks={"twice": "plug_good:Twice"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert registry.task("twice").__module__ == "plug_good"


def test_a_task_and_a_detector_may_have_one_name(install: Install) -> None:
    install("plug_both", GOOD, tasks={"x": "plug_both:Twice"}, detectors={"x": "plug_both:Lamp"})
    assert registry.task("x").__name__ == "Twice"
    assert registry.detector("x").__name__ == "Lamp"


@pytest.mark.parametrize("name", ["flap", "", "Flip", "input", "flip ", "flip\n"])
def test_an_unknown_name_lists_what_there_is(install: Install, name: str) -> None:
    install("plug_bad", "1 / 0", tasks={"broken": "plug_bad:Twice"})
    with pytest.raises(ConfigError, match="no task of this name is installed") as caught:
        registry.task(name)
    error = caught.value
    assert (error.field, error.value) == ("type", name)
    assert error.allowed == sorted(error.allowed)
    assert {"flip", "mask", "broken"} <= set(error.allowed)
    assert "plug_bad" not in sys.modules
    with pytest.raises(ConfigError, match="no detector of this name") as caught:
        registry.detector(name)
    assert caught.value.allowed == ["dectris", "replay", "simulator"]


def test_a_detector_knows_the_name_it_is_registered_by(install: Install) -> None:
    class Unheard(Detector):
        """A detector that no package brings."""

    code = "class Other:\n    class Lamp: ...\n" + GOOD
    install("plug_broken", "1 / 0", detectors={"a": "plug_broken:Lamp"})
    install("plug_lamp", code, detectors={"lantern": "plug_lamp:Lamp"})
    assert registry.detector_name(registry.detector("lantern")()) == "lantern"
    assert registry.detector_name(Simulator()) == "simulator"  # re-exported by its package
    assert registry.detector_name(Replay(path="x.h5")) == "replay"
    assert registry.detector_name(Unheard()) == "unheard"
