"""What compiled functions are called with, how they fail, and libraries that do not fit."""

from __future__ import annotations

import ctypes
import gc
import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from harness import chained, ran, run
from native_library import compiled
from strategies import block

import limadask as ld
from limadask.cli import main
from limadask.frames import Frames, Spec
from limadask.geometry import Grid

SPEC = Spec(Grid((3, 4)), np.dtype("u2"))
HERE = Path(__file__).parent
SCALAR = {"one": ld.Variable((), np.dtype("f8"))}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    return compiled(HERE / "faults.cpp", tmp_path_factory.mktemp("native"))


def frames(*firsts: int, number: int = 0) -> Frames:
    made = Frames.of(np.zeros((len(firsts), 1, 3, 4), "u2"), number)
    made.pixels[:, 0, 0, 0] = firsts
    return made


def tables(task: Any, given: Frames) -> Any:
    result = run(chained(task, collect=False), [given], SPEC)
    assert not result.failures
    return result.products("n0")[1]


def test_frame_numbers_come_along(library: str) -> None:
    numbered = ld.native_task(library, "numbered", plan="i8")
    given = frames(0, 0, 0, number=12)
    pixels = ran(SPEC, given, numbered()).frames.pixels
    assert pixels.dtype == "i8"
    assert pixels[:, 0, 2, 3].tolist() == [12, 13, 14]


def test_parameters_arrive_as_they_are(library: str) -> None:
    columns = {name: ld.Variable((), np.dtype("f8")) for name in "abcde"}
    parameters = {
        "weights": (tuple[float, ...], (1.5, 2.5, 3.0)),
        "is_on": (bool, True),
        "missing": (float | None, None),
        "name": (str, "µm"),
    }
    told = ld.native_task(library, "told", plan=columns, parameters=parameters)
    values = tables(told(), frames(0))
    assert [values[name].tolist() for name in "abcde"] == [[7.0], [1.0], [-7.5], [3.0], [42.0]]
    assert tables(told(weights=()), frames(0))["a"].tolist() == [0.0]


def test_a_failure_tells_what_the_function_says(library: str) -> None:
    fails = ld.native_task(library, "fails", plan="same")
    blocks = [frames(code, number=10 * code) for code in range(5)]
    result = run(chained(fails()), blocks, SPEC)
    assert [(one.first, one.text) for one in result.failures] == [
        (10, "RuntimeError: frame 10 is bad"),
        (20, "RuntimeError: fails returned 77"),
        (30, "RuntimeError: an exception that is no std::exception"),
        (40, "RuntimeError: no parameter nothing"),
    ]
    assert result.frames.numbers.tolist() == [0]


def test_a_function_that_refuses_all_frames_is_found_before_any_comes(library: str) -> None:
    never = ld.native_task(library, "never", plan="same")
    with pytest.raises(ld.ConfigError, match=r"blank frame .*: not for 4 columns") as caught:
        run(chained(never()), [], SPEC)
    assert caught.value.node == "n0"


def test_a_state_is_made_once_and_freed(library: str) -> None:
    plan = {name: ld.Variable((), np.dtype("i8")) for name in ("start", "alive")}
    counted = ld.native_task(library, "counted", plan=plan, parameters={"start": (int, 5)})
    values = tables(counted(start=7), frames(0, 0))
    assert values["start"].tolist() == [7, 7]
    assert values["alive"].tolist() == [1, 1]
    gc.collect()
    assert ctypes.CDLL(library).nb_alive() == 0
    with pytest.raises(ld.ConfigError, match="start is negative") as caught:
        run(chained(counted(start=-1), collect=False), [], SPEC)
    assert caught.value.node == "n0"


def test_several_threads_call_it_at_a_time(library: str) -> None:
    numbered = ld.native_task(library, "numbered", plan="i8")
    call = numbered().kernel(SPEC)

    def filled(first: int) -> bool:
        numbers = np.arange(first, first + 5)
        out = np.empty((5, 1, 3, 4), "i8")
        call(np.zeros((5, 1, 3, 4), "u2"), out, numbers)
        return bool((out == numbers[:, None, None, None]).all())

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(filled, range(400)))


def test_other_threads_run_meanwhile(tmp_path: Path) -> None:
    source = tmp_path / "waiting.cpp"
    source.write_text(
        '#include "limadask.hpp"\n#include <atomic>\n'
        "static std::atomic<int> go{0};\n"
        "LIMADASK_EXPORT void release() { go = 1; }\n"
        "LIMADASK_TASK(waits) { while (call.number(0) != 0 && go == 0) {} }\n"
    )
    path = compiled(source, tmp_path)
    waits = ld.native_task(path, "waits", plan="same")
    call = waits().kernel(SPEC)
    pixels = np.zeros((1, 1, 3, 4), "u2")
    thread = threading.Thread(target=call, args=(pixels, pixels.copy(), np.ones(1, np.int64)))
    thread.start()
    ctypes.CDLL(path).release()  # it could not be called if the other held the GIL
    thread.join(60)
    assert not thread.is_alive()


def test_it_is_called_with_nothing_but_what_was_planned(library: str) -> None:
    call = ld.native_task(library, "numbered", plan="i8")().kernel(SPEC)
    good = np.zeros((2, 1, 3, 4), "u2"), np.zeros((2, 1, 3, 4), "i8"), np.arange(2)
    call(*good)
    for change in (
        (good[0].astype("u4"), *good[1:]),
        (good[0][:, :, ::-1], *good[1:]),
        (good[0], np.zeros((2, 1, 3, 5), "i8"), good[2]),
        (good[0], good[1][:1], good[2]),
        (good[0], good[1], np.arange(3)),
    ):
        with pytest.raises(ValueError, match="numbered"):
            call(*change)


def test_a_plan_may_be_a_function_of_spec_and_parameters(library: str) -> None:
    def cut(spec: ld.Spec, rows: int) -> ld.Spec:
        return spec.replace(grid=spec.grid.crop(0, 0, rows, 2), dtype=np.dtype("i8"))

    task = ld.native_task(library, "numbered", plan=cut, parameters={"rows": (int, 2)})
    assert ran(SPEC, frames(0, number=3), task(rows=1)).frames.pixels.tolist() == [[[[3, 3]]]]

    def wrong(spec: ld.Spec, rows: int) -> ld.Products:
        return spec  # type: ignore[return-value]

    other = ld.native_task(library, "numbered", plan=wrong, parameters={"rows": (int, 2)})
    with pytest.raises(ld.ConfigError, match="must return a Spec, or Products"):
        other().plan(SPEC)


@pytest.mark.parametrize(
    ("plan", "text"),
    [
        ("complex64", "no plan of numbered"),
        ("nonsense", "no plan of numbered"),
        ({"a": "f8", "b": ld.Variable((), np.dtype("f8"))}, "cannot yield these by-products"),
        ({"a": ld.Variable(("ring",), np.dtype("f8"))}, "cannot yield these by-products"),
        (lambda spec: 1 / 0, "the plan of numbered failed for 3 × 4 uint16: ZeroDivisionError"),
    ],
)
def test_a_plan_that_is_none_is_refused(plan: Any, text: str) -> None:
    with pytest.raises(ld.ConfigError, match=text):
        ld.native_task("any.so", "numbered", plan=plan)().plan(SPEC)


def test_parameters_that_c_cannot_have_are_refused() -> None:
    task = ld.native_task("any.so", "process", plan="same", parameters={"value": Any})
    for value in ({"a": 1}, 1 << 63, [[1, 2]], 1j):
        with pytest.raises(ld.ConfigError) as caught:
            task(value=value)
        assert (caught.value.field, caught.value.value) == ("value", value)
    for name in ("library", "plan", "kernel"):
        with pytest.raises(ld.ConfigError, match="uses itself"):
            ld.native_task("any.so", "process", plan="same", parameters={name: int})


def refused(library: str, function: str = "numbered") -> ld.ConfigError:
    pipe = ld.Pipeline()
    pipe.add("node", ld.native_task(library, function, plan="i8")())
    with pytest.raises(ld.ConfigError) as caught:
        ld.process(np.zeros((2, 3, 4), "u2"), pipe)
    assert caught.value.node == "node"
    assert caught.value.allowed is not None
    return caught.value


def test_a_library_that_does_not_fit_is_refused(library: str, tmp_path: Path) -> None:
    missing = str(tmp_path / "libmissing.so")
    error = refused(missing)
    assert (error.field, error.value, error.message) == ("library", missing, "no such file")
    text = tmp_path / "libtext.so"
    text.write_text("no library")
    assert "cannot be loaded" in refused(str(text)).message
    error = refused(library, "nothing")
    assert (error.field, error.value) == ("function", "nothing")
    plain = tmp_path / "plain.cpp"
    plain.write_text('extern "C" int numbered() { return 0; }\n')
    assert "does not tell the version" in refused(compiled(plain, tmp_path)).message
    other = tmp_path / "other.cpp"
    other.write_text(
        'extern "C" int limadask_abi() { return 2; }\nextern "C" int numbered() { return 0; }\n'
    )
    assert "version 2 of the interface" in refused(compiled(other, tmp_path)).message


def test_a_library_that_has_changed_since_it_was_loaded_is_refused(
    library: str, tmp_path: Path
) -> None:
    path = tmp_path / "libfaults.so"
    shutil.copy(library, path)
    task = ld.native_task(path, "numbered", plan="i8")()
    task.check()
    path.unlink()
    shutil.copy(library, path)
    with pytest.raises(ld.ConfigError, match="has changed since") as caught:
        task.check()
    assert "restart" in str(caught.value.allowed)


def test_the_header_is_found_by_compilers(tmp_path: Path) -> None:
    told = CliRunner().invoke(main, ["native", "--includes"])
    assert told.exit_code == 0
    folder = Path(told.output.strip().removeprefix("-I"))
    assert {one.name for one in folder.iterdir()} == {"limadask.h", "limadask.hpp"}
    source = tmp_path / "plain.c"
    source.write_text(
        '#include "limadask.h"\n'
        "LIMADASK_EXPORT int32_t same(const limadask_call *call) {\n"
        "    const limadask_array *in = call->input;\n"
        "    memcpy(call->output->data, in->data, in->shape[0] * in->strides[0]);\n"
        "    return 0;\n}\n"
    )
    if (compiler := shutil.which("cc")) is None:
        pytest.skip("no compiler of C here: no cc")
    path = tmp_path / "libplain.so"
    options = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-shared", "-fPIC"]
    subprocess.run(
        [compiler, *options, f"-I{folder}", str(source), "-o", str(path)], check=True, timeout=60
    )
    given = block(1, SPEC, 4)
    task = ld.native_task(path, "same", plan="same")()
    np.testing.assert_array_equal(ran(SPEC, given, task).frames.pixels, given.pixels)
