"""The page about compiled tasks: its code is compiled by its command, and runs."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from pages import BOUND, FOLDER, environment

import limadask.native

PAGE = (FOLDER / "native.md").read_text(encoding="utf-8")
HEADER = (limadask.native.include_folder() / "limadask.h").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_code_is_compiled_and_gives_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("c++") is None:
        pytest.skip("no compiler of C++ here: no c++")
    monkeypatch.chdir(tmp_path)
    (source,), (command,), (program,) = blocks("cpp"), blocks("sh"), blocks("python")
    Path("mine.cpp").write_text(source)
    done = subprocess.run(
        command, shell=True, env=environment(), capture_output=True, text=True, timeout=BOUND
    )
    assert done.returncode == 0, done.stderr
    exec(compile(program, "docs/how-to/native.md", "exec"), {"__name__": "page"})


@pytest.mark.parametrize("struct", ["limadask_call", "limadask_array"])
def test_all_fields_are_told(struct: str) -> None:
    body = re.search(rf"typedef struct {struct} {{\n(.*?)^}}", HEADER, re.MULTILINE | re.DOTALL)
    assert body is not None
    plain = re.sub(r"/\*.*?\*/", "", body[1], flags=re.DOTALL)
    fields = set(re.findall(r"(\w+)(?:\[\d\])?;", plain))
    table = PAGE.split(f"| field of `{struct}` |")[1].split("\n\n")[0]
    names = " ".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE))
    assert set(re.findall(r"`(\w+)`", names)) == fields
