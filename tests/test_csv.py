"""CSV files for ``predict``: header, index and labels are told from values, and what is ambiguous is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tsc_lib import cli
from tsc_lib.core.errors import UserError
from tsc_lib.series.csvfile import FIND_OUT, CsvLayout, read_csv

PATH = Path("x.csv")
LABELS = ("walk slow", "run", "7")
X = np.random.default_rng(0).normal(size=(5, 6)).round(4)
COUNTED = pd.DataFrame(X)
NAMED = pd.DataFrame(X, columns=[f"v{i}" for i in range(6)])
LABELLED = ["run", "7", "walk slow", "run", "run"]
NUMBERED = ["7", "7", "7", "7", "7"]


def read(text: str, length: int | None = None, layout: CsvLayout = FIND_OUT, gaps: str = "refuse"):
    return read_csv(text.encode(), PATH, gaps, layout, length, LABELS)


def refused(text: str, sentence: str, length: int | None = None, layout: CsvLayout = FIND_OUT) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        read(text, length, layout)
    assert "\n" not in str(caught.value)


def with_label(place: int, labels: list[str], name: str, frame: pd.DataFrame = NAMED) -> pd.DataFrame:
    frame = frame.copy()
    frame.insert(place, name, labels)
    return frame


@pytest.mark.parametrize("length", [6, None])
@pytest.mark.parametrize(
    ("text", "labels"),
    [
        (COUNTED.to_csv(index=False, header=False), []),
        (COUNTED.to_csv(index=False), []),
        (COUNTED.to_csv(), []),
        (COUNTED.rename(columns=lambda i: i + 1).to_csv(index_label="id"), []),
        (NAMED.to_csv(index=False), []),
        (NAMED.to_csv(), []),
        (NAMED.set_axis(pd.date_range("2024-01-01", periods=6), axis=1).to_csv(index=False), []),
        (NAMED.set_axis(pd.date_range("2024-01-01", periods=6, freq="15min").time, axis=1).to_csv(), []),
        (NAMED.set_index(pd.date_range("2024-01-01", periods=5)).to_csv(), []),
        (NAMED.iloc[[3, 0, 4, 1, 2]].sort_index().to_csv(index_label="index"), []),
        (with_label(0, LABELLED, "label").to_csv(index=False), LABELLED),
        (with_label(0, LABELLED, "label", COUNTED).to_csv(index=False), LABELLED),
        (with_label(0, LABELLED, "sensor", COUNTED).to_csv(index=False), LABELLED),
        (with_label(0, NUMBERED, "class").to_csv(), NUMBERED),
        (with_label(6, LABELLED, "Target").to_csv(), LABELLED),
        (with_label(6, LABELLED, "y", COUNTED).to_csv(index=False), LABELLED),
        (with_label(6, ["run"] * 5, "what").to_csv(index=False, header=False), ["run"] * 5),
        (COUNTED.to_csv(index=False, header=False, sep=";"), []),
        (COUNTED.to_csv(sep="\t"), []),
        (COUNTED.to_csv(quoting=1), []),
        (COUNTED.to_csv(quoting=1, sep=";", lineterminator="\r\n"), []),
        ("\ufeff" + NAMED.to_csv(lineterminator="\r"), []),
        ("# " + NAMED.to_csv(index=False), []),
        (NAMED.to_csv(index=False).replace(",", " , ") + "\n\n", []),
        (
            '"V1","V2","V3","V4","V5","V6"\n' + COUNTED.rename(lambda i: f'"{i + 1}"').to_csv(header=False, quoting=3),
            [],
        ),
        (COUNTED.to_csv(index=False, header=False, lineterminator=",\n"), []),
    ],
)
def test_what_other_programs_write_is_read_as_it_is_meant(text: str, labels: list[str], length: int | None) -> None:
    found = read(text, length)
    np.testing.assert_array_equal(np.concatenate(found.x), X)
    assert found.labels == labels
    assert len(found.lines) == 5
    assert any("line 1 as a header" in note for note in found.notes) == (found.lines[0] > 1)


@pytest.mark.parametrize(
    ("text", "layout", "length"),
    [
        (COUNTED.to_csv(header=False), CsvLayout(index_column=True, label_column="none"), None),
        (COUNTED.to_csv(header=False), CsvLayout(index_column=True), 6),
        (with_label(0, [512] * 5, "what").to_csv(index=False), CsvLayout(label_column="first"), 6),
        (with_label(0, [512] * 5, "what").to_csv(), CsvLayout(label_column="first", index_column=True), None),
        (with_label(6, [512] * 5, "what").to_csv(index=False), CsvLayout(label_column="last"), 6),
        (with_label(6, ["?"] * 5, "what").to_csv(index=False), CsvLayout(label_column="last"), None),
        (COUNTED.rename(columns=lambda i: i / 10).to_csv(index=False), CsvLayout(header=True), 6),
    ],
)
def test_options_say_what_a_file_does_not(text: str, layout: CsvLayout, length: int | None) -> None:
    found = read(text, length, layout)
    np.testing.assert_array_equal(np.concatenate(found.x), X)
    told = [f"{PATH} is read with line 1 as a header"] if found.lines[0] > 1 and layout.header is None else []
    assert found.notes == told


@pytest.mark.parametrize(
    ("text", "length", "sentence"),
    [
        ("0,1,2\n5,3,8\n", 3, r"x.csv, line 1 rises or falls all the way, as the numbers .*--header .*--no-header"),
        ("0.0,0.1,0.2\n5,3,8\n", 3, r"x.csv, line 1 rises or falls all the way"),
        ("1,2,3\n", None, r"x.csv, line 1 rises or falls all the way"),
        ("2,1,0\n0.5,0.3,0.8\n", 3, r"x.csv, line 1 rises or falls all the way"),
        ("1,2,4,8,16,32,64,128\n5,3,8,1,5,3,8,1\n", 8, r"x.csv, line 1 rises or falls all the way"),
        ("0.5;0.25;1\n0.5,0.25,1\n0.5,0.3,1\n", 3, r"x.csv, line 1 holds no numbers, though its cells begin so"),
        ("0.0V,0.4V,0.1V\n0.5,0.25,1\n0.5,0.3,1\n", 3, r"x.csv, line 1 holds no numbers, though .*--header"),
        (COUNTED.to_csv(header=False), None, r"not clear .* the first or the last column may be .*--index-column"),
        (with_label(0, NUMBERED, "what").to_csv(index=False), None, r"not clear .*--label-column first, last or none"),
        (with_label(6, NUMBERED, "what").to_csv(index=False), None, r"not clear .* --label-column first, last or none"),
        (with_label(0, [1, 2, 1, 1, 2], "").to_csv(index=False, header=False), 6, "lines have 7 cells, .* 6 values"),
        ("7,7,7\n7,5,7\n", 2, "not clear which columns hold values"),
        ("a1,0.5,0.25\na2,0.75,0.5\n", None, "not clear which columns hold values"),
        (NAMED.to_csv(), 7, "not clear which columns hold values, since lines have 7 cells, and the model reads 7"),
        ("0\n0.5\n1.5\n", None, "x.csv has one value in each line; write all values of a series in one line"),
        ("0,0.5\n1,0.25\n2,1.5\n", None, "not clear which columns hold values"),
        ("id,0\n0,0.5\n1,0.25\n2,1.5\n", None, "x.csv has one value in each line"),
        (NAMED.to_csv(index=False) * 2, 6, "x.csv, line 7 repeats the header; leave the line out"),
        ("0,5;1,5\n", None, r"column 1 is not a number: '0,5'; write decimal points, not commas"),
        ('"0,5"\t"1,5"\n', None, r"column 1 is not a number: '0,5'; write decimal points, not commas"),
        ("0.5 1.5 2.5\n" * 2, None, r"column 1 is not a number: '0.5 1.5 2.5'; write commas between the values"),
        ("0.5,1_000,2\n", None, "column 2 is not a number: '1_000'"),
        ("0.5,\u0661\u0662,2\n", None, "column 2 is not a number: '\u0661\u0662'"),
        ("0.5,O.2,0.3\n0.4,0.5,0.6\n", None, r"line 1 \(series 1\), column 2 is not a number: 'O.2'"),
        ('0.5,"0.2,0.3\n0.4,0.5,0.6\n', None, "x.csv is no CSV file"),
        ("run\nrun\n", None, "not clear which columns hold values"),
        ("1_0,2_0\n0.5,0.25\n", None, "column 1 is not a number: '1_0'"),
    ],
)  # fmt: skip
def test_what_is_ambiguous_or_wrong_is_refused(text: str, length: int | None, sentence: str) -> None:
    refused(text, sentence, length)


def test_an_unknown_place_of_labels_is_refused() -> None:
    refused("1,2\n", "unknown label column 'third'; choose first, last or none", None, CsvLayout(label_column="third"))


def test_a_line_without_values_is_refused() -> None:
    refused("1\n2\n", r"x.csv, line 1 \(series 1\) holds no values", None, CsvLayout(index_column=True))


def test_series_that_all_rise_evenly_are_no_headers() -> None:
    assert [one[0].tolist() for one in read("0.5,1.0,1.5\n2.5,3.5,4.5\n").x] == [[0.5, 1.0, 1.5], [2.5, 3.5, 4.5]]


def test_missing_values_at_the_end_of_a_line_are_the_end_of_a_series() -> None:
    found = read("0.5,1.5,0.5,,\n0.5,,2.5,3.5,NaN\n0.5,1.5,2.5,3.5,4.5\n", None, FIND_OUT, "interpolate")
    assert [one[0].tolist() for one in found.x] == [[0.5, 1.5, 0.5], [0.5, 1.5, 2.5, 3.5], [0.5, 1.5, 2.5, 3.5, 4.5]]
    [note] = found.notes
    assert note == (
        "x.csv: 2 of 3 series end in missing values, which are taken for padding and left out; they have 3 to 4 steps"
    )


def test_what_was_found_out_is_said() -> None:
    text = with_label(0, LABELLED, "label", COUNTED).to_csv(sep=";")
    assert read(text).notes == [
        "x.csv is read with semicolons as separators, line 1 as a header, column 1 as an index, the second column as "
        "labels"
    ]


def test_predict_reads_what_the_options_say(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.csv"
    x = np.random.default_rng(1).normal(size=(4, 24)).round(4)
    outputs = []
    for frame, options in (
        (pd.DataFrame(x).to_csv(header=False, index=False), []),
        (pd.DataFrame(x).to_csv(), []),
        (pd.DataFrame(x, columns=range(0, 48, 2)).to_csv(), ["--header", "--index-column", "--label-column", "none"]),
    ):
        file.write_text(frame)
        assert cli.main(["predict", str(models / "fixed"), str(file), "--threads", "1", *options]) == 0
        captured = capsys.readouterr()
        outputs.append(captured.out)
    assert outputs[0] == outputs[1] == outputs[2]
    assert captured.err == ""
    file = file.with_suffix(".npz")
    np.savez(file, x=x)
    assert cli.main(["predict", str(models / "fixed"), str(file), "--no-header"]) == 1
    assert "x.npz is no .csv file; --header, --index-column and --label-column are for" in capsys.readouterr().err
