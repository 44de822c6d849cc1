"""Environments of emulators are made whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from emulators.environment import FOLDER, LARGE, NotInstalledError, environment


def leave(folder: Path, _: tuple[str, ...]) -> None:
    folder.mkdir()
    (folder / "left").touch()
    raise NotInstalledError("the plug was pulled")


@pytest.mark.emulator
def test_what_is_left_half_made_is_thrown_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr("emulators.environment._make", leave)
        with pytest.raises(NotInstalledError, match="plug"):
            environment("./no-such-package")
    (left,) = tmp_path.glob("*/left")
    with pytest.raises(NotInstalledError, match="no-such-package"):
        environment("./no-such-package")
    assert not left.exists()
    assert (left.parent / "bin").exists()
    assert not (left.parent / "complete").exists()


def test_one_that_is_complete_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.setattr("emulators.environment._make", lambda folder, _: folder.mkdir())
    folder = environment("first")
    monkeypatch.setattr("emulators.environment._make", lambda *_: pytest.fail("made again"))
    assert environment("first") == folder
    with pytest.raises(pytest.fail.Exception, match="made again"):
        environment("second")


def test_a_large_one_is_made_only_where_that_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.delenv(LARGE, raising=False)
    monkeypatch.setattr("emulators.environment._make", lambda folder, _: folder.mkdir())
    with pytest.raises(NotInstalledError, match="LIMADASK_EMULATORS_LARGE is not 1"):
        environment("first", is_large=True)
    monkeypatch.setenv(LARGE, "1")
    folder = environment("first", is_large=True)
    monkeypatch.delenv(LARGE)
    assert environment("first", is_large=True) == folder
