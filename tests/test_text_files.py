"""Files of series say one thing: their encoding, header, rows, numbers and labels agree, or they are refused."""

from __future__ import annotations

import bz2
import gzip
import io
import logging
import lzma
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tsc_lib import cli
from tsc_lib.core.errors import UserError
from tsc_lib.data import load, resolve
from tsc_lib.series import formats
from tsc_lib.series.tsfile import parse
from tsc_lib.series.values import Series

PATH = Path("x.ts")
ROWS = "1,2,3:é\n2,3,5:è\n3,4,4:x\n"


def ts(rows: str, *header: str) -> str:
    return "\n".join(["@problemName toy", *header, "@data", rows])


def read(text: str | bytes, **options: object) -> Series:
    return parse(text.encode() if isinstance(text, str) else text, PATH, **options)


def refused(text: str | bytes, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        read(text)
    assert "\n" not in str(caught.value)


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.ts", content)
    return file.getvalue()


# Encodings


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (ts(ROWS).encode("latin1"), "line 3 is no UTF-8; it looks like Latin-1; save it as UTF-8, .* iconv -f lat"),
        (ts(ROWS, "@classLabel true é è x").encode("latin1"), "x.ts, line 2 is no UTF-8; it looks like Latin-1"),
        (ts("1,2:€\n").encode("cp1252"), "x.ts, line 3 is no UTF-8; it looks like Windows-1252; .* iconv -f cp1252"),
        (ts("1,2:a\n1,3:é").encode()[:-1], "x.ts, line 4 is no UTF-8; it ends within a character, .* cut short"),
        (ts(ROWS).encode("latin1").decode(errors="replace"), r"line 3 has a character that an earlier conversion lost"),
        (ts(ROWS).encode("utf-16"), "x.ts is no text in UTF-8; it looks like UTF-16; save it as text in UTF-8"),
        (ts(ROWS).encode("utf-16-be"), "x.ts is no text in UTF-8; it looks like UTF-16"),
        (ts(ROWS).encode("utf-32"), "x.ts is no text in UTF-8; it looks like UTF-16"),
        (ts(ROWS).encode() + b"\0", "x.ts is no text in UTF-8; it looks like binary data"),
        (gzip.compress(ts(ROWS).encode(), mtime=0), "x.ts is compressed with gzip; unpack it"),
        (bz2.compress(ts(ROWS).encode()), "x.ts is compressed with bzip2; unpack it"),
        (lzma.compress(ts(ROWS).encode()), "x.ts is compressed with xz; unpack it"),
        (zipped(ts(ROWS).encode()), "x.ts is a ZIP archive, as spreadsheets are too; unpack it"),
    ],
)  # fmt: skip
def test_what_is_no_utf_8_is_refused_by_the_name_of_what_it_looks_like(content: str | bytes, sentence: str) -> None:
    refused(content, sentence)


def test_labels_with_accents_stay_apart_and_comments_may_be_in_any_encoding() -> None:
    content = "# Müller\n".encode("latin1") + ts(f"% für ßÿ\n{ROWS}").encode().replace("ü".encode(), b"\xfc")
    assert read(content).labels == ["é", "è", "x"]
    assert read("\ufeff" + ts(ROWS, "@classLabel true é è x")).labels == ["é", "è", "x"]


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
def test_line_ends_of_every_system_are_read(end: str) -> None:
    found = read(ts(ROWS).replace("\n", end))
    assert (found.labels, found.lines) == (["é", "è", "x"], [3, 4, 5])


# Headers


@pytest.mark.parametrize(
    ("header", "rows", "sentence"),
    [
        ("@seriesLength 2", "1,2,3,4:a\n", r"line 4 .* has 4 values, though .*'@seriesLength 2'; numbers with decimal"),
        (
            "@seriesLength 4",
            "1,2,3,4:a\n1,2,3:a\n",
            r"line 5 \(series 2\) has 3 values, though .*'@seriesLength 4'; mend",
        ),
        ("@seriesLength many", "1,2,3:a\n", r"has 3 values, though the header says '@seriesLength many'"),
        ("@seriesLength 3\n@equalLength true", "1,2:a\n", r"has 2 values, though the header says '@seriesLength 3'"),
        ("@univariate true", "1,2:3,4:a\n", r"has 2 channel\(s\), though the header says '@univariate true'"),
        ("@univariate false", "1,2:a\n", r"has 1 channel\(s\), though the header says '@univariate false'"),
        ("@dimension 3", "1,2:3,4:a\n", r"has 2 channel\(s\) where 3 are expected"),
        ("@dimensions \u0662", "1,2:3,4:a\n", r"'@dimensions' must be a whole number of channels"),
        (f"@dimensions {'1' * 5000}", "1,2:3,4:a\n", r"'@dimensions' must be a whole number of channels"),
        ("@equalLength true", "1,2:a\n1,2,3:a\n", r"line 5 .* has 3 values where line 4 has 2, though the header says"),
        ("@equalLength yes", "1,2:a\n", r"x.ts, line 2: '@equalLength' must be true or false, not 'yes'"),
        ("@univariate", "1,2:a\n", r"x.ts, line 2: '@univariate' must be true or false, not ''"),
    ],
)
def test_a_header_that_contradicts_its_rows_is_refused(header: str, rows: str, sentence: str) -> None:
    refused(ts(rows, header), sentence)


def test_the_length_of_a_header_is_ignored_and_noted_where_lengths_differ() -> None:
    found = read(ts("1,2:a\n1,2,3:a\n", "@seriesLength 12", "@equalLength false"))
    assert [one.shape for one in found.x] == [(1, 2), (1, 3)]
    [note] = found.notes
    assert note.startswith("x.ts: '@seriesLength 12' is ignored, since the header also says '@equalLength false';")
    assert not read(ts("1,2:a\n1,2,3:a\n", "@seriesLength 3", "@equalLength false")).notes


# Numbers


@pytest.mark.parametrize(
    "number", ["1_000", "\u0661\u0662", "0x10", "1d5", "1 2", "1e", "--1", "1.2.3", "\uff11", "True"]
)
def test_only_what_every_program_takes_for_a_number_is_one(number: str) -> None:
    refused(ts(f"1,2:a\n3,{number}:a\n"), r"line 4 \(series 2\): value 2 of channel 1 is not a number")


def test_numbers_are_read_as_written() -> None:
    written = ["1", "-2.5", "+3", ".5", "5.", "1e5", "1E-05", "0001", "1" * 30, "0." + "1" * 400, " 7\t"]
    assert read(ts(f"{','.join(written)}:a\n")).x[0][0].tolist() == [float(each) for each in written]


def test_a_cell_of_a_million_digits_is_told_at_once() -> None:
    refused(ts(f"1,{'1' * 1_000_000}x:a\n"), "value 2 of channel 1 is not a number: '1{40}'$")


# Padding


@pytest.mark.parametrize("gaps", ["refuse", "interpolate"])
def test_missing_values_at_the_end_of_all_channels_are_the_end_of_the_series(gaps: str) -> None:
    rows = "1,2,3,NaN,?:4,5,6,,nan:a\n1,2,3,4,?:1,2,3,4,-nan:a\n1,2,3,4,5:1,2,3,4,5:a\n"
    found = read(ts(rows, "@equalLength true", "@seriesLength 5", "@dimensions 2"), gaps=gaps)
    assert [one.tolist() for one in found.x] == [
        [[1, 2, 3], [4, 5, 6]],
        [[1, 2, 3, 4], [1, 2, 3, 4]],
        [[1, 2, 3, 4, 5], [1, 2, 3, 4, 5]],
    ]
    assert found.notes == [
        "x.ts: 2 of 3 series end in missing values, which are taken for padding and left out; they have 3 to 4 steps"
    ]


def test_gaps_before_the_end_stay_gaps() -> None:
    row = "?,2,?,4,?,?:1,2,3,4,5,?:a\n"
    refused(ts(row), r"value 1 of channel 1 is missing \('\?'\)")
    assert read(ts(row), gaps="interpolate").x[0].tolist() == [[2, 2, 3, 4, 4], [1, 2, 3, 4, 5]]


def test_arrays_are_padded_with_nan_as_files_are() -> None:
    found = formats.series_of(np.array([[1, 2, np.nan], [1, 2, 3]]))
    assert [one.tolist() for one in found.x] == [[[1, 2]], [[1, 2, 3]]]
    assert len(found.notes) == 1


# Labels


def test_labels_may_hold_spaces() -> None:
    rows = "1,2:walk slow\n1,3:run\n2,3: walk  slow\n"
    assert read(ts(rows, "@classLabel true walk slow run")).labels == ["walk slow", "run", "walk  slow"]
    assert read(ts(rows)).labels == ["walk slow", "run", "walk  slow"]
    refused(ts("1,2:walk sl\n", "@classLabel true walk slow run"), "has the label 'walk sl', which .* does not list")


@pytest.mark.parametrize(
    "labels", [("A", "a"), ("walk slow", "walk  slow"), ("\u00e9", "e\u0301"), ("a", "a\u200b"), ("1", "1.0")]
)
def test_labels_that_look_alike_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], labels: tuple[str, str]
) -> None:
    rows = "".join(f"{i},2,{i + 1}:{labels[i % 2]}\n" for i in range(8))
    for part in ("TRAIN", "TEST"):
        (tmp_path / f"toy_{part}.ts").write_text(ts(rows))
    load.cache_clear()
    assert cli.main(["data", str(tmp_path)]) == 0
    [line] = [line for line in capsys.readouterr().err.splitlines() if "are different classes" in line]
    assert ascii(labels[0]) in line
    assert ascii(labels[1]) in line
    assert len(load(resolve(str(tmp_path))).classes) == 2


def test_what_was_noticed_in_a_file_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = "".join(f"{i},2,{i % 3},{'?' if i % 3 else 1}:{'ab'[i % 2]}\n" for i in range(8))
    for part in ("TRAIN", "TEST"):
        (tmp_path / f"toy_{part}.ts").write_text(ts(rows))
    load.cache_clear()
    with caplog.at_level(logging.WARNING, "tsc_lib"):
        assert not load(resolve(str(tmp_path))).equal_length
    said = [record.message for record in caplog.records if "series end in missing values" in record.message]
    assert [Path(each.split(":")[0]).name for each in said] == ["toy_TRAIN.ts", "toy_TEST.ts"]


# What is no file


def test_a_pipe_or_a_device_as_input_is_refused_without_waiting(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "toy"
    folder.mkdir()
    os.mkfifo(folder / "toy_TRAIN.ts")
    (folder / "toy_TEST.ts").symlink_to("/dev/zero")
    for command in (
        ["data", str(folder)],
        ["predict", str(models / "fixed"), str(folder / "toy_TRAIN.ts")],
        ["predict", str(models / "fixed"), str(folder / "toy_TEST.ts")],
    ):
        assert cli.main(command) == 1
        [line] = capsys.readouterr().err.splitlines()
        assert "is a pipe, a socket or a device" in line


@pytest.mark.parametrize("name", ["x.csv", "link.csv", "copy.csv", "fixed/model.onnx", "fixed/SHA256SUMS"])
def test_predict_writes_over_nothing_that_it_reads(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    shutil.copytree(models / "fixed", tmp_path / "fixed")
    file, out = tmp_path / "x.csv", tmp_path / name
    file.write_text(",".join(["1.5"] * 24) + "\n")
    (tmp_path / "link.csv").symlink_to("x.csv")
    (tmp_path / "copy.csv").hardlink_to(file)
    before = out.read_bytes()
    assert cli.main(["predict", str(tmp_path / "fixed"), str(file), "--out", str(out)]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert f"{out} is " in line
    assert "is read; name another file to write" in line
    assert out.read_bytes() == before


def test_results_are_not_written_over_their_profile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    profile = tmp_path / "mine.yaml"
    profile.write_text("name: mine\n")
    assert cli.main(["results", "--profile", str(profile), "--csv", str(profile)]) == 1
    assert "mine.yaml is a file that is read; name another file to write" in capsys.readouterr().err
    assert profile.read_text() == "name: mine\n"
