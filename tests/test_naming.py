"""Names of files with fields: filled in once, counted, and refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from distributed import Client
from hypothesis import given
from hypothesis import strategies as st

import limadask as ld
from limadask.naming import fill, has_run, names_of, next_run
from limadask.pipeline import counted, named
from limadask_detectors import Simulator
from limadask_tasks import SaveHdf5

NAMES = names_of("abcdef0123", 1_700_000_000.0, {"sample": "LaB6", "x": 1.25, "more": {"a": 1}})


def test_the_fields_are_those_of_the_run_and_its_metadata() -> None:
    assert dict(NAMES) == {
        "uuid": "abcdef0123", "date": "20231114", "time": "221320", "sample": "LaB6", "x": 1.25,
    }  # fmt: skip
    template = "{sample}_{date}T{time}_{x:05.2f}_{uuid:.4}_{{x}}_{run:04d}"
    assert fill(template, {**NAMES, "run": 7}) == "LaB6_20231114T221320_01.25_abcd_{x}_0007"
    assert has_run(template)
    assert not has_run("{{run}}_{sample}")


@given(st.text(st.characters(exclude_characters="{}"), min_size=1))
def test_a_name_without_fields_stays_as_it_is(name: str) -> None:
    assert fill(name, NAMES) == name
    assert not has_run(name)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{smaple}", "no field 'smaple'"),
        ("{sample", "no name with fields"),
        ("{}", "no name with fields"),
        ("{sample.__class__}", "no name with fields"),
        ("{sample[0]}", "no name with fields"),
        ("{sample!r}", "no name with fields"),
        ("{x:{run}}", "no name with fields"),
        ("{run:x}", "counts once"),
        ("{run}{run}", "counts once"),
        ("{sample:d}", "cannot be written"),
    ],
)
def test_what_is_no_template_is_refused(template: str, words: str) -> None:
    with pytest.raises(ld.ConfigError, match=words) as caught:
        fill(template, {**NAMES, "run": 1})
    assert (caught.value.field, caught.value.value) == ("prefix", template)
    assert caught.value.allowed


def test_runs_are_counted_from_the_files_there_are() -> None:
    files = ["LaB6_0003_master.h5", "LaB6_0012_0_00000.h5", "LaB6_0100.h5", "Si_0200_master.h5",
             "LaB6_0013_manifest.sha256", "xLaB6_0300_master.h5", "LaB6_0x_master.h5"]  # fmt: skip
    assert next_run("{sample}_{run:04d}", NAMES, files) == 14
    assert next_run("{sample}_{run}", NAMES, []) == 1


def saving(folder: Path, *prefixes: str) -> ld.Pipeline:
    pipe = ld.Pipeline()
    for number, prefix in enumerate(prefixes):
        pipe.add(f"file{number}", SaveHdf5(folder=str(folder), prefix=prefix), after="input")
    return pipe


def prefixes(pipe: ld.Pipeline) -> list[Any]:
    return [dict(node.task)["prefix"] for node in pipe]


def test_all_sinks_of_a_run_have_one_number(tmp_path: Path) -> None:
    (tmp_path / "b_5_master.h5").touch()
    pipe = saving(tmp_path, "a_{run}", "b_{run}", "c")
    names = counted(pipe, NAMES)
    assert prefixes(named(pipe, names)) == ["a_6", "b_6", "c"]


def test_a_name_that_makes_a_folder_is_refused_and_its_node_named(tmp_path: Path) -> None:
    with pytest.raises(ld.ConfigError, match="begin of a file name") as caught:
        named(saving(tmp_path, "{sample}"), {"sample": "../a"})
    assert caught.value.node == "file0"


def test_runs_on_a_cluster_have_names_that_count(client: Client, tmp_path: Path) -> None:
    made = []
    for _ in range(2):
        run = ld.Acquisition(
            client, Simulator(shape=(64, 48)), saving(tmp_path, "{sample}_{run:04d}"),
            nb_frames=10, expo_time=1e-3, metadata={"sample": "LaB6"},
            topology=ld.Topology(workers=2), buffers=ld.Buffers(nb_frames_per_block=2),
        )  # fmt: skip
        with run:
            run.prepare()
            run.start()
            run.wait(timeout=60)
        made.append(Path(run.files["file0"]).name)
        with ld.open(run.files["file0"]) as tree:
            assert (tree["entry/data"]["frame_status"] == ld.Status.PRESENT).all()
    assert made == ["LaB6_0001_master.h5", "LaB6_0002_master.h5"]
    run = ld.Acquisition(client, Simulator(shape=(64, 48)), saving(tmp_path, "{sample}"))
    with run, pytest.raises(ld.ConfigError, match="no field 'sample'") as caught:
        run.prepare()
    assert caught.value.node == "file0"
