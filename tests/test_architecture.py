"""What may import what, and how long files may be."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = {
    "limadask": ROOT / "limadask",
    "limadask_tasks": ROOT / "tasks" / "limadask_tasks",
    "limadask_detectors": ROOT / "detectors" / "limadask_detectors",
    "limadask_benchmarks": ROOT / "benchmarks" / "limadask_benchmarks",
}
LONGEST, MEDIAN = 420, 120
PUBLIC = {"Client", "Future"}
"""What anybody may use of distributed."""
Import = tuple[str, str]
"""A module, and the name taken from it; empty where the module itself is imported."""


@cache
def modules() -> dict[str, Path]:
    """All modules by their names."""
    found = {}
    for package, folder in SOURCES.items():
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join((package, *parts)).removesuffix(".__init__")] = path
    return found


def imports(module: str, *, lazy: bool) -> Iterator[Import]:
    """What a module imports; with ``lazy`` also in functions and for type checkers."""
    tree = ast.parse(modules()[module].read_text(encoding="utf-8"))
    for node in ast.walk(tree) if lazy else at_import(tree):
        if isinstance(node, ast.Import):
            yield from ((one.name, "") for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: imports are absolute"
            yield from ((node.module or "", one.name) for one in node.names)


def at_import(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes that run when a module is imported."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from (inner for one in child.orelse for inner in (one, *at_import(one)))
            continue
        yield child
        yield from at_import(child)


def of(package: str, found: Iterator[Import]) -> set[Import]:
    """Those imports that come from a package."""
    return {one for one in found if one[0].partition(".")[0] == package}


def graph() -> dict[str, set[str]]:
    """Which modules of ours each module needs to be imported."""
    known = modules()
    needs: dict[str, set[str]] = {}
    for module in known:
        named = set()
        for source, name in imports(module, lazy=False):
            whole = f"{source}.{name}"
            named.add(whole if whole in known else source)
        needs[module] = {one for one in named if one in known} - {module}
    return needs


def circle(needs: dict[str, set[str]]) -> list[str]:
    """Some modules that need each other, none if there are none."""
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_the_sources_are_found() -> None:
    assert {"limadask", "limadask.cluster.scheduler", "limadask_tasks.mask"} <= set(modules())
    assert ("distributed", "Scheduler") in imports("limadask.cluster.scheduler", lazy=False)
    needs = graph()
    assert "limadask.states" in needs["limadask.engine.run"]
    assert "limadask.registry" in needs["limadask.configuration"]
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})


def test_imports_in_functions_and_for_type_checkers_come_later() -> None:
    early = ast.parse(
        "import a\nclass A:\n    import b\nif x:\n    import c\ntry:\n    import d\nfinally: 0\n"
        "if TYPE_CHECKING:\n    import no\nelse:\n    import e\ndef f():\n    import no\n"
    )
    found = [one.names[0].name for one in at_import(early) if isinstance(one, ast.Import)]
    assert found == ["a", "b", "c", "d", "e"]


def test_only_the_room_cluster_knows_the_insides_of_distributed() -> None:
    found = {
        module: beyond
        for module in modules()
        if not module.startswith("limadask.cluster.")
        and (beyond := of("distributed", imports(module, lazy=True)) - allowed())
    }
    assert found == {}


def allowed() -> set[Import]:
    return {("distributed", name) for name in PUBLIC}


@pytest.mark.parametrize("package", ["distributed", "dask", "tornado"])
def test_the_engine_is_free_of_dask(package: str) -> None:
    engine = [module for module in modules() if module.startswith("limadask.engine")]
    assert len(engine) > 10
    found = {module: of(package, imports(module, lazy=True)) for module in engine}
    assert {module: some for module, some in found.items() if some} == {}


def calls(module: str) -> set[str]:
    """Names of the methods that a module calls."""
    tree = ast.parse(modules()[module].read_text(encoding="utf-8"))
    found = (one.func for one in ast.walk(tree) if isinstance(one, ast.Call))
    return {one.attr for one in found if isinstance(one, ast.Attribute)}


def test_nothing_outside_the_engine_sets_a_state() -> None:
    setting = {module for module in modules() if "happen" in calls(module)}
    assert "limadask.engine.run" in setting
    assert {one for one in setting if not one.startswith("limadask.engine.")} == set()
    knowing = {one for one in modules() if of("statemachine", imports(one, lazy=True))}
    assert knowing == {"limadask.states", "limadask.engine.run"}


def test_the_engine_does_not_reach_the_cluster_by_other_rooms() -> None:
    needs = graph()
    reached, todo = set[str](), {one for one in needs if one.startswith("limadask.engine")}
    while todo:
        reached |= todo
        todo = {after for one in todo for after in needs[one]} - reached
    assert {one for one in reached if one.startswith("limadask.cluster")} == set()
    assert {one for one in reached if of("distributed", imports(one, lazy=False))} == set()


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circle(graph()) == []


def test_no_rooms_of_the_core_import_each_other_in_a_circle() -> None:
    rooms: dict[str, set[str]] = {}
    for module, needed in graph().items():
        if module.count(".") and module.startswith("limadask."):
            names = {room(one) for one in needed if one.startswith("limadask.")}
            rooms.setdefault(room(module), set()).update(names)
    assert len(rooms) > 10
    assert circle({name: needed - {name} for name, needed in rooms.items()}) == []


def room(module: str) -> str:
    return module.split(".")[1]


def test_files_are_short() -> None:
    lengths = {
        module: path.read_text(encoding="utf-8").count("\n") for module, path in modules().items()
    }
    assert {module: count for module, count in lengths.items() if count > LONGEST} == {}
    assert median(lengths.values()) <= MEDIAN
