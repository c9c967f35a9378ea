"""Prediction with an exported model: eager's logits, every file format, and one sentence for whatever is wrong."""

from __future__ import annotations

import csv
import json
import shutil
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from exported import LABELS, describe_again, logits_alone
from test_runtimes import without_the_study

from tsc_lib import cli
from tsc_lib.core.errors import UserError
from tsc_lib.export import bundle
from tsc_lib.export.predict import Prediction, calls_of, logits_of, predict
from tsc_lib.runtimes.predictor import run_in_parts
from tsc_lib.series.formats import read
from tsc_lib.series.scaling import Scaler

RUNTIMES = ("eager", "onnxruntime", "openvino")


@pytest.fixture
def model(models: Path, tmp_path: Path) -> Path:
    """A copy of ``fixed`` to damage."""
    return Path(shutil.copytree(models / "fixed", tmp_path / "model"))


def series_of(lengths: tuple[int, ...], channels: int = 1) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.normal(size=(channels, n)).astype(np.float32).astype(float) for n in lengths]


def write(path: Path, content: str | bytes | dict) -> Path:
    if isinstance(content, dict):
        np.savez(path, **content)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def lines_of(series: list[np.ndarray], end: str = "") -> str:
    rows = [":".join(",".join(repr(float(v)) for v in channel) for channel in one) for one in series]
    return "".join(f"{row}{end}\n" for row in rows)


# What a model answers


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("batch_size", [1, 7, None])
def test_logits_are_eagers_row_by_row(models: Path, runtime: str, batch_size: int | None) -> None:
    folder = models / f"any-{runtime}"
    series = series_of((9, 5000, 24, 1, 31, 16, 100, 7, 8), channels=24)
    described = bundle.read(folder)
    predictors = [bundle.load(folder, described, 1)]
    logits = logits_of(described, predictors, series, calls_of(described, series, batch_size))
    np.testing.assert_allclose(logits, logits_alone(24, series), atol=1e-4)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_threads_change_no_bit(models: Path, tmp_path: Path, runtime: str) -> None:
    series = series_of(tuple(range(5, 45)), channels=24)
    file = write(tmp_path / "x.ts", f"@classLabel false\n@data\n{lines_of(series)}")
    one, four = (predict(models / f"any-{runtime}", file, batch_size=3, threads=n).logits for n in (1, 4))
    np.testing.assert_array_equal(four, one)


def test_calls_run_side_by_side_and_each_predictor_has_one_at_a_time(models: Path) -> None:
    described = bundle.read(models / "fixed")
    series = series_of((24,) * 40)
    together, busy = threading.Barrier(2, timeout=30), [threading.Lock(), threading.Lock()]

    def predictor(own: threading.Lock, x: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
        assert lengths is None
        assert own.acquire(blocking=False)
        try:
            together.wait()  # never comes if calls wait for one another
            return x[:, 0, : len(LABELS)]
        finally:
            own.release()

    calls = calls_of(described, series, 10)
    logits = logits_of(described, [partial(predictor, lock) for lock in busy], series, calls)
    np.testing.assert_allclose(logits, np.stack(series)[:, 0, : len(LABELS)], rtol=1e-6)


def test_threads_that_no_call_is_left_for_work_within_the_calls(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, load = [], bundle.load
    monkeypatch.setattr(bundle, "load", lambda *given: loaded.append(given[2]) or load(*given))
    file = write(tmp_path / "x.npz", {"x": np.stack(series_of((24,) * 20))})
    for batch_size, threads, expected in ((10, 5, [2, 2]), (20, 3, [3]), (5, 3, [1, 1, 1])):
        loaded.clear()
        predict(models / "fixed", file, batch_size=batch_size, threads=threads)
        assert loaded == expected


def test_a_batch_that_is_executed_in_parts_has_the_logits_of_the_whole(models: Path, tmp_path: Path) -> None:
    series = series_of((24,) * 1001)
    file = write(tmp_path / "x.npz", {"x": np.stack(series)})
    logits = predict(models / "fixed", file, batch_size=700).logits
    np.testing.assert_allclose(logits, logits_alone(1, series), atol=1e-5)


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (4, [4]), (5, [3, 2]), (9, [3, 3, 3])])
def test_parts_are_of_equal_size_and_keep_the_order(count: int, sizes: list[int]) -> None:
    x = np.arange(count * 20.0).reshape(count, 1, 20)
    seen: list[int] = []

    def execute(x: np.ndarray) -> np.ndarray:
        seen.append(len(x))
        return x.sum(axis=2)

    logits = run_in_parts(execute, (x,), 80, 4)  # four series of twenty time steps
    assert seen == sizes
    np.testing.assert_array_equal(logits, x.sum(axis=2))


def test_parts_of_unequal_lengths_hold_what_is_alike_and_no_more_padding_than_they_need() -> None:
    lengths = np.array([5, 20, 4, 11, 19, 4, 7])
    x = np.where(np.arange(20) < lengths[:, None], np.arange(1, 8)[:, None], 0)[:, None].astype(np.float32)
    seen: list[tuple[int, ...]] = []

    def execute(x: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        assert x.flags.c_contiguous
        seen.append((*x.shape, *lengths))
        return np.stack([x.max(axis=(1, 2)), lengths], axis=1)

    logits = run_in_parts(execute, (x, lengths), 40, 4)  # two series of twenty time steps, patches of four
    assert seen == [(2, 1, 20, 20, 19), (3, 1, 8, 11, 7, 5), (2, 1, 4, 4, 4)]
    np.testing.assert_array_equal(logits, np.stack([np.arange(1, 8), lengths], axis=1))


def test_every_format_gives_the_same_answer(models: Path, tmp_path: Path) -> None:
    series = series_of((24, 9, 40))
    files = [
        write(tmp_path / "a.ts", f"@classLabel true {LABELS[0]}\n@data\n{lines_of(series, ':day')}"),
        write(tmp_path / "b.ts", f"@classLabel false\n@data\n{lines_of(series)}"),
        write(tmp_path / "c.ts", f"@classLabel true day\n@data\n{lines_of(series, ':?')}"),
        write(tmp_path / "d.csv", lines_of(series)),
        write(
            tmp_path / "e.CSV", "\ufefft0, t1,t2\r\n\r\n" + lines_of(series).replace("\n", "\r\n").replace(",", " ,")
        ),
    ]
    padded = np.zeros((3, 1, 40))
    for row, one in zip(padded, series, strict=True):
        row[:, : one.shape[1]] = one
    lengths = np.array([24, 9, 40], dtype=np.uint8)
    files.append(write(tmp_path / "f.npz", {"x": padded, "lengths": lengths}))
    files.append(write(tmp_path / "g.npz", {"x": padded[:, 0].astype(np.float32), "lengths": lengths}))
    exact = logits_alone(1, series)
    for file in files:
        np.testing.assert_allclose(predict(models / "one", file).logits, exact, atol=1e-5, err_msg=file.name)


def test_whole_numbers_are_numbers(models: Path, tmp_path: Path) -> None:
    x = np.arange(48).reshape(2, 24)
    file = write(tmp_path / "x.npz", {"x": x})
    np.testing.assert_allclose(
        predict(models / "fixed", file).logits, logits_alone(1, list(x[:, None])), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("kind", ["channel", "series", "none"])
def test_scaling_survives_json(kind: str) -> None:
    train, new = series_of((30, 20, 40), channels=3), series_of((24,), channels=3)[0]
    scaler = Scaler.fit(kind, train)
    again = Scaler.from_json(json.loads(json.dumps(scaler.to_json())))
    np.testing.assert_array_equal(again(new), scaler(new))
    assert (kind == "none") == np.array_equal(again(new), new.astype(np.float32))


def test_series_are_scaled_before_the_model_sees_them(model: Path, tmp_path: Path) -> None:
    describe_again(model, scaling={"kind": "channel", "mean": [3.0], "deviation": [2.0]})
    [one] = series_of((24,))
    file = write(tmp_path / "x.csv", lines_of([3 + 2 * one]))
    np.testing.assert_allclose(predict(model, file).logits, logits_alone(1, [one]), atol=1e-5)


@pytest.mark.parametrize("name", ["x.csv", "x.ts", "x.npz"])
def test_gaps_are_filled_where_the_model_was_made_so(model: Path, tmp_path: Path, name: str) -> None:
    whole = [np.linspace(-1, 2, 24)[None], np.ones((1, 24))]
    holed = [one.copy() for one in whole]
    holed[0][0, [3, 4, 20]], holed[1][0, [0, 1, 22]] = np.nan, np.nan
    text = lines_of(holed, ":day" if name == "x.ts" else "")
    content = {"x": np.stack(holed)} if name == "x.npz" else "@data\n" * (name == "x.ts") + text.replace("nan", "?")
    file = write(tmp_path / name, content)
    with pytest.raises(UserError, match=r"is missing.*; fill the gap .*'--gaps interpolate'"):
        predict(model, file)
    describe_again(model, gaps="interpolate")
    np.testing.assert_allclose(predict(model, file).logits, logits_alone(1, whole), atol=1e-5)
    if name == "x.npz":
        for value, sentence in (
            (np.inf, "value 5 of channel 1 is infinite or too"),
            (np.nan, "all values of channel 1"),
        ):
            holed[1][0] = np.nan
            holed[1][0, 4] = value
            with pytest.raises(UserError, match=f"x.npz, series 2: {sentence}"):
                predict(model, write(file, {"x": np.stack(holed)}))


def test_softmax_is_stable_and_csv_is_whole() -> None:
    logits = np.array([[1e4, 0, -1e4], [0, 0, np.log(2)]], dtype=np.float32)
    prediction = Prediction(LABELS, logits, ["day", "unheard of"])
    np.testing.assert_allclose(prediction.probabilities, [[1, 0, 0], [0.25, 0.25, 0.5]], atol=1e-7)
    head, *rows = csv.reader(prediction.to_csv().splitlines())
    assert head == ["series", "label", *(f"p_{label}" for label in LABELS)]
    assert rows == [["1", "day", "1.000000", "0.000000", "0.000000"], ["2", "3", "0.250000", "0.250000", "0.500000"]]
    assert prediction.count_correct() == (1, 1)
    assert Prediction(LABELS, logits[:, ::-1], []).count_correct() == (0, 0)
    assert f'2,"{LABELS[1].replace(chr(34), chr(34) * 2)}",' in Prediction(LABELS, logits[:, [0, 2, 1]], []).to_csv()


def test_labels_that_the_model_does_not_know_are_counted() -> None:
    logits = np.eye(3, dtype=np.float32)

    def describe(*given: str) -> str:
        return Prediction(LABELS, logits, list(given)).describe_accuracy()

    assert describe() == describe("?", "?", "?") == ""
    assert describe("day", "3", "?") == "accuracy by the labels in the file: 0.5000 (1 of 2)"
    assert describe("day", "cat", "?").endswith("(1 of 1); 1 of 3 series have a label that the model does not know")
    assert describe("1.0", "cat", "cat") == "3 of 3 series have a label that the model does not know"


# The command


def test_predict_runs_where_only_the_runtime_is_installed(models: Path, tmp_path: Path) -> None:
    series = series_of((24, 24, 24))
    file = write(tmp_path / "x.ts", f"@classLabel true day 3\n@data\n{lines_of(series, ':day')}")
    out = tmp_path / "out.csv"
    arguments = ["predict", str(models / "fixed"), str(file), "--out", str(out)]
    done = without_the_study("from tsc_lib import cli", f"sys.exit(cli.main({arguments}))")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"3 rows written to {out}\n"
    _, *rows = csv.reader(out.read_text().splitlines())
    logits = logits_alone(1, series)
    assert [row[1] for row in rows] == [LABELS[i] for i in logits.argmax(axis=1)]
    given = np.array([row[2:] for row in rows], dtype=float)
    np.testing.assert_allclose(given, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), atol=1e-5)
    assert f"of {len(rows)})" in done.stderr


def test_predict_prints_without_a_file_to_write_to(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "x.csv", lines_of(series_of((24,))))
    assert cli.main(["predict", str(models / "fixed"), str(file), "--threads", "1", "--batch-size", "3"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("series,label,p_day")
    assert captured.out.count("\n") == 2
    assert captured.err == ""


def test_nothing_is_written_if_something_is_wrong(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = write(tmp_path / "x.csv", "1,2\n"), tmp_path / "out.csv"
    for arguments in (
        [str(file), "--out", str(out)],
        [str(file), "--out", str(tmp_path)],
        [str(file), "--threads", "0"],
    ):
        assert cli.main(["predict", str(models / "fixed"), *arguments]) == 1
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert not out.exists()


# Files that cannot be used

FINE = ",".join(["1"] * 24)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("x.txt", FINE, r"x.txt is of no kind that can be read; give a .ts, .csv or .npz file"),
        ("x.csv", "", r"x.csv holds no series; give one in each line"),
        ("x.csv", "t1,t2\n\n", r"x.csv holds no series"),
        ("x.csv", f"{FINE}\n1,2,?,4\n", r"x.csv, line 2 \(series 2\), column 3 is missing \('\?'\); fill the gap"),
        ("x.csv", f"t\n{FINE}\n\n1,nan,3\n", r"x.csv, line 4 \(series 2\), column 2 is missing \('nan'\)"),
        ("x.csv", f"{FINE}\n{FINE},,1\n", r"line 2 \(series 2\), column 25 is missing \(''\)"),
        ("x.csv", f"{FINE}\n{FINE}, ,1\n{FINE}", r"line 2 \(series 2\), column 25 is missing \(''\)"),
        ("x.csv", f"{FINE}\n1,2,?\n", r"line 2 \(series 2\) has 2 time steps before the missing values at its end"),
        ("x.csv", "?,?\n", r"line 1 \(series 1\), column 1 is missing"),
        ("x.csv", "1,two\n", r"x.csv, line 1 \(series 1\), column 2 is not a number: 'two'"),
        ("x.csv", "a;b\n1;2\n", r"x.csv, line 2 \(series 1\) has 2 time steps, but the model reads exactly 24"),
        ("x.csv", f"{FINE[2:]},1e39", r"column 24 is infinite or too large for float32: '1e39'"),
        ("x.csv", f"{FINE[2:]},inf", r"column 24 is infinite"),
        ("x.csv", f"{FINE}\n{FINE},1\n", r"line 2 \(series 2\) has 25 time steps, but the model reads exactly 24"),
        ("x.csv", "1", r"x.csv, line 1 \(series 1\) has 1 time steps, but the model reads exactly 24"),
        ("x.ts", f"@data\n{FINE}:{FINE}:a\n", r"x.ts, line 2 \(series 1\) has 2 channel\(s\), but the model reads 1"),
        ("x.ts", "", r"x.ts is empty"),
        ("x.ts", f"@data\n{FINE}:a\n1,x:a\n", r"x.ts, line 3 \(series 2\): value 2 of channel 1 is not a number: 'x'"),
        ("x.ts", f"@classLabel false\n@data\n{FINE}:a\n", r"line 3 \(series 1\) has channels of different lengths"),
        ("x.npz", b"", r"x.npz is empty"),
        ("x.npz", b"PK\x03\x04 not a zip", r"x.npz is damaged or no .npz file"),
        ("x.npz", b"1,2,3", r"x.npz is damaged or no .npz file"),
        ("x.npz", {"y": np.zeros(3)}, r"x.npz holds no array x \(it holds y\)"),
        ("x.npz", {"x": np.zeros(24)}, r"x.npz: x must hold numbers in the shape .* not float64 in the shape \(24,\)"),
        ("x.npz", {"x": np.zeros((0, 24))}, r"x.npz: x must hold numbers .* in the shape \(0, 24\)"),
        ("x.npz", {"x": np.array([["a"] * 24])}, r"x.npz: x must hold numbers"),
        ("x.npz", {"x": np.array([None] * 3)}, r"x.npz holds Python objects, which are never loaded"),
        ("x.npz", {"x": np.ones((2, 24)), "lengths": np.array([24])}, r"must be 2 whole numbers between 1 and 24"),
        ("x.npz", {"x": np.ones((2, 24)), "lengths": np.array([0, 24])}, r"lengths must be 2 whole numbers"),
        ("x.npz", {"x": np.ones((1, 24)), "lengths": np.array([24.0])}, r"lengths must be 1 whole numbers"),
        ("x.npz", {"x": np.array([[1] * 24, [1] * 22 + [np.nan, 1]])}, r"series 2: value 23 of channel 1 is missing"),
        ("x.npz", {"x": np.array([[1] * 24, [1] * 23 + [np.nan]])}, r"series 2 has 23 time steps before the missing"),
        ("x.npz", {"x": np.ones((1, 2, 24))}, r"x.npz, series 1 has 2 channel\(s\), but the model reads 1; give"),
    ],
)  # fmt: skip
def test_a_bad_file_is_one_sentence(models: Path, tmp_path: Path, name: str, content: object, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        predict(models / "fixed", write(tmp_path / name, content))
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_one_sentence(models: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no file .*nowhere.ts"):
        predict(models / "fixed", tmp_path / "nowhere.ts")
    (tmp_path / "x.csv").mkdir()
    with pytest.raises(UserError, match=r"x.csv cannot be read \(Is a directory\)"):
        predict(models / "fixed", tmp_path / "x.csv")


def test_a_series_that_makes_too_many_tokens_is_one_sentence(models: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "x.npz", {"x": np.zeros((1, 1, 8200))})
    with pytest.raises(UserError, match=r"series 1 has 8200 time steps, but .* between 1 and 8199; pad"):
        predict(models / "one", file)


@pytest.mark.filterwarnings("error")
def test_values_beyond_what_the_model_can_take_are_one_sentence(model: Path, tmp_path: Path) -> None:
    describe_again(model, scaling={"kind": "channel", "mean": [0.0], "deviation": [0.001]})
    file = write(tmp_path / "x.npz", {"x": np.array([[1.0] * 24, [3e38, -3e38] * 12])})
    with pytest.raises(UserError, match=r"series 2 has a value of size 3e\+41 after scaling, too large"):
        predict(model, file)


def test_nothing_in_an_npz_is_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    file = tmp_path / "x.npz"
    np.savez(file, x=np.array([Trap()], dtype=object))
    with pytest.raises(UserError, match="never loaded"):
        read(file)
    assert not (tmp_path / "sprung").exists()
