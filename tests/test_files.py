"""Files are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tsc_lib.core.errors import UserError
from tsc_lib.core.files import read_json, write_json


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


def test_damaged_record_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text('{"status": "o')
    with pytest.raises(UserError, match=r"is damaged .* delete it and run again"):
        read_json(tmp_path / "record.json")
