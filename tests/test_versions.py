"""Stages and their versions: code that changed is noticed, prose is not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tsc_lib.core.errors import UserError
from tsc_lib.study import acknowledge
from tsc_lib.study.versions import NOT_STORED, STAGES, Stage, version


def test_the_code_of_every_stage_is_as_it_was_acknowledged() -> None:
    found = acknowledge.changed()
    assert not found, "\n".join(found.values())


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with one stage of two modules, acknowledged."""
    monkeypatch.setattr(acknowledge, "PACKAGE", tmp_path)
    monkeypatch.setattr(acknowledge, "ACKNOWLEDGED", tmp_path / "acknowledged.txt")
    stages = {"one": Stage(1, ("room", "other:work")), "two": Stage(1, ("room.own",), ("one",))}
    monkeypatch.setattr(acknowledge, "STAGES", stages)
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "part.py").write_text("X = 1\n")
    (tmp_path / "room" / "own.py").write_text("Z = 1\n")
    (tmp_path / "other.py").write_text("def work(): return 1\n\n\ndef beside(): return 1\n")
    acknowledge.acknowledge(stages)
    assert not acknowledge.changed()
    return tmp_path


@pytest.mark.parametrize(
    ("file", "text", "stages"),
    [
        ("room/part.py", '"""Prose."""\n\nX = 1  # why\n"""Of X."""\n', []),
        ("other.py", "def beside(): return 2\n\n\ndef work():\n    '''Prose.'''\n    return 1\n", []),
        ("room/part.py", "X = 2\n", ["one"]),
        ("other.py", "def work(): return 2\n", ["one"]),
        ("room/new.py", "Y = 1\n", ["one"]),
        ("room/own.py", "Z = 2\n", ["two"]),
    ],
)
def test_code_counts_and_prose_does_not(package: Path, file: str, text: str, stages: list[str]) -> None:
    (package / file).write_text(text)
    assert list(acknowledge.changed()) == stages
    for sentence in acknowledge.changed().values():
        assert f"python -m tsc_lib.study.acknowledge {stages[0]}" in sentence
    assert acknowledge.main(stages) == 0
    assert not acknowledge.changed()


def test_a_module_may_be_renamed(package: Path) -> None:
    (package / "room" / "part.py").rename(package / "room" / "renamed.py")
    assert not acknowledge.changed()


def test_a_new_version_is_recorded(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(acknowledge.STAGES, "two", dataclasses.replace(acknowledge.STAGES["two"], version=2))
    assert "has the new version 2" in acknowledge.changed()["two"]
    acknowledge.acknowledge(["two"])
    assert not acknowledge.changed()


def test_what_does_not_exist_is_told(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (package / "other.py").write_text("")
    with pytest.raises(UserError, match=r"stage 'one' names 'other:work', which does not exist"):
        acknowledge.changed()
    assert acknowledge.main(["three"]) == 1
    assert "unknown stage 'three'; the stages are one, two" in capsys.readouterr().err


def test_versions_follow_one_another() -> None:
    assert version("compress") == (*version("train"), STAGES["compress"].version)
    assert version("evaluate", "eager") == version("evaluate")
    assert version("evaluate", "openvino") == (*version("evaluate"), STAGES["openvino"].version)


def test_what_decides_no_result_exists() -> None:
    for name in NOT_STORED:
        assert acknowledge.PACKAGE.joinpath(*name.split(".")).with_suffix(".py").exists(), name
