"""Files are written whole or not at all, and what cannot be read is one sentence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tsc_lib.core.errors import UserError
from tsc_lib.core.files import read_json, read_regular, replace_folder, write_json, write_text


def test_files_are_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.json"
    write_json(path, {"value": 1})

    def full_disk(handle: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_json(path, {"value": 2})
    assert read_json(path) == {"value": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["file.json"]


def test_nan_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "file.json", {"value": float("nan")})


@pytest.mark.parametrize("content", ['{"status": "o', "[" * 100_000, f"[{'1' * 5000}]", "\udcff"])
def test_a_damaged_record_is_one_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "record.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=r"is damaged .* delete its folder and run again"):
        read_json(tmp_path / "record.json")


def test_pipes_and_devices_are_refused_before_they_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.ts")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    for name in ("pipe.ts", "zero.csv"):
        with pytest.raises(UserError, match=f"{name} is a pipe, a socket or a device; copy its content into a file"):
            read_regular(tmp_path / name, "")


def test_a_file_that_is_missing_or_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, sentence in (
        ("nowhere", "give one"),
        (".", r"cannot be read \(Is a directory\); check"),
        ("loop", r"cannot be read \(Too many levels"),
    ):
        with pytest.raises(UserError, match=sentence):
            read_regular(tmp_path / name, "give one")


def test_a_file_larger_than_the_memory_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(path: Path) -> bytes:
        raise MemoryError

    monkeypatch.setattr(Path, "read_bytes", no_memory)
    (tmp_path / "huge").touch()
    with pytest.raises(UserError, match="huge does not fit into the memory; give a smaller file"):
        read_regular(tmp_path / "huge", "")


def test_a_folder_that_cannot_be_replaced_comes_back(tmp_path: Path) -> None:
    for name in ("old", "new"):
        write_text(tmp_path / name / "file", name)
    (tmp_path / "scratch").mkdir()
    with pytest.raises(OSError, match="nowhere"):
        replace_folder(tmp_path / "old", tmp_path / "nowhere", tmp_path / "scratch")
    assert (tmp_path / "old" / "file").read_text() == "old"
    replace_folder(tmp_path / "old", tmp_path / "new", tmp_path / "scratch")
    assert (tmp_path / "old" / "file").read_text() == "new"


def test_text_that_is_no_unicode_is_one_sentence_and_the_file_stays(tmp_path: Path) -> None:
    write_text(tmp_path / "table.csv", "old")
    with pytest.raises(UserError, match=r"table.csv cannot be written with '\\udcff' in it"):
        write_text(tmp_path / "table.csv", "a name \udcff")
    assert (tmp_path / "table.csv").read_text() == "old"
