"""What dead processes leave behind is taken away, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from limadask.memory import janitor
from limadask.memory.janitor import Claim, clean

OWNER = """
    import sys
    from pathlib import Path
    from limadask.memory.janitor import Claim

    claim = Claim(Path(sys.argv[1]))
    claim.add(sys.argv[2:])
    print("claimed", flush=True)
    sys.stdin.read()
"""


@contextmanager
def owner(claims: Path, *paths: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has claimed some files, killed in the end."""
    program = [sys.executable, "-c", textwrap.dedent(OWNER), str(claims), *map(str, paths)]
    process = subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "claimed\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def claims(tmp_path: Path) -> Path:
    folder = tmp_path / "claims"
    folder.mkdir()
    return folder


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    made = [tmp_path / name for name in ("segment", "topology")]
    for one in made:
        one.write_text("of MPI")
    return made


def test_names_of_the_living_stay_and_those_of_the_dead_go(claims: Path, files: list[Path]) -> None:
    with owner(claims, *files) as process:
        assert clean(claims) == []
        assert all(one.exists() for one in files)
        (claim,) = claims.iterdir()
        assert claim.name.startswith(f"{process.pid}-")
    assert clean(claims) == [str(one) for one in files]
    assert not any(one.exists() for one in files)
    assert list(claims.iterdir()) == []
    assert clean(claims) == []


def test_an_owner_cleans_up_itself(claims: Path, files: list[Path]) -> None:
    claim = Claim(claims)
    for _ in range(3):
        claim.add(map(str, files))
    (path,) = claims.iterdir()
    assert len(path.read_text().splitlines()) == len(files)
    assert clean(claims) == []  # in the same process as well
    claim.clear()
    claim.clear()
    assert not any(one.exists() for one in files)
    assert list(claims.iterdir()) == []


def test_another_file_of_that_name_stays(claims: Path, files: list[Path]) -> None:
    with owner(claims, *files):
        other = files[0].with_suffix(".new")
        other.write_text("somebody else's")
        other.replace(files[0])
    assert clean(claims) == [str(files[1])]
    assert files[0].read_text() == "somebody else's"


def test_what_was_not_claimed_stays(claims: Path, files: list[Path]) -> None:
    with owner(claims, files[0]):
        pass
    clean(claims)
    assert files[1].exists()


def test_a_claim_whose_last_line_is_torn_is_read_so_far(claims: Path, files: list[Path]) -> None:
    with owner(claims, *files):
        (path,) = claims.iterdir()
    whole = path.read_text()
    path.write_text(whole[: whole.index("\n") + 20])
    assert clean(claims) == [str(files[0])]
    assert files[1].exists()
    assert list(claims.iterdir()) == []


def test_a_claim_that_is_none_harms_nobody(claims: Path, files: list[Path]) -> None:
    (claims / "1-2-3").write_text(json.dumps([str(files[0])]) + '\n{"a": 1}\n7\nnothing\n')
    os.symlink(files[1], claims / "4-5-6")
    assert clean(claims) == []
    assert all(one.exists() for one in files)


def test_several_janitors_take_each_file_away_once(claims: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"file{number}" for number in range(20)]
    for one in files:
        one.write_text("left")
    for first in range(0, 20, 5):
        with owner(claims, *files[first : first + 5]):
            pass
    together, removed = threading.Barrier(8), list[str]()

    def work() -> None:
        together.wait(30)
        removed.extend(clean(claims))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(30)
    assert sorted(removed) == sorted(map(str, files))
    assert list(claims.iterdir()) == []


def test_claims_that_are_made_while_others_clean_are_kept(claims: Path, files: list[Path]) -> None:
    """A new claim looks dead until it is locked: a janitor may take it away just then."""
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            clean(claims)

    janitors = [threading.Thread(target=work) for _ in range(2)]
    for one in janitors:
        one.start()
    try:
        for _ in range(300):
            claim = Claim(claims)
            claim.add([str(files[0])])
            assert claim._path.exists()
            claim._names.clear()  # the file is to stay
            claim.clear()
    finally:
        over.set()
        for one in janitors:
            one.join(30)
    assert files[0].exists()


def test_a_folder_of_another_user_is_not_used(
    tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(janitor.tempfile, "gettempdir", lambda: str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    os.symlink(tmp_path / "elsewhere", tmp_path / f"limadask-claims-{os.getuid()}")
    claim = Claim()
    assert "is not this user's" in caplog.text
    assert clean() == []
    claim.add([str(files[0])])
    claim.clear()  # the owner itself still can
    assert not files[0].exists()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_cleaning_alone_makes_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(janitor.tempfile, "gettempdir", lambda: str(tmp_path))
    assert clean() == []
    assert list(tmp_path.iterdir()) == []
    Claim().clear()
    (folder,) = tmp_path.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
