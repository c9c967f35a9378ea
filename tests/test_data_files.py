"""Data sets as files: finding, downloading and strict reading."""

from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path
from urllib.error import URLError

import aeon.datasets
import numpy as np
import pytest

from tsc_lib.core.errors import UserError
from tsc_lib.data import DataSpec, load, resolve
from tsc_lib.series.formats import read_npz

HEADER = "# made up\n@problemName toy\n@timestamps false\n@classLabel true {labels}\n@data\n"
GOOD = ["1,2,3:a", "2,3,5:a", "3,4,4:a", "9,8,7:b", "8,7,5:b", "7,6,6:b"]


def text(rows: list[str]) -> str:
    labels = " ".join(sorted({row.rsplit(":", 1)[1] for row in rows}))
    return HEADER.format(labels=labels) + "\n".join(rows) + "\n"


@pytest.fixture
def make(tmp_path):
    """Write a data set from rows or from a whole text; return its folder."""

    def write(train: list[str] | str, test: list[str] | str = GOOD, name: str = "toy", stem: str = "") -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        for part, content in (("TRAIN", train), ("TEST", test)):
            content = content if isinstance(content, str) else text(content)
            (folder / f"{stem or name}_{part}.ts").write_text(content, encoding="utf-8")
        return folder

    return write


def assert_one_sentence(call, pattern: str) -> None:
    with pytest.raises(UserError, match=pattern) as caught:
        call()
    assert "\n" not in str(caught.value)


# Finding


@pytest.mark.parametrize("name", ["GunPoint", "BasicMotions", "JapaneseVowels", "JapaneseVowels_eq"])
def test_bundled_sets_hold_what_aeon_reads(name):
    data = load(resolve(name, scaling="none"))
    equal = {"load_equal_length": name.endswith("_eq")}
    for split, parts in (("train", (data.train, data.valid)), ("test", (data.test,))):
        x, y = aeon.datasets.load_classification(name, split=split, **equal)
        ours = [
            (one.tobytes(), data.classes[k].lower()) for part in parts for one, k in zip(part.x, part.y, strict=True)
        ]
        theirs = [(np.float32(one).tobytes(), label) for one, label in zip(x, y, strict=True)]
        assert sorted(ours) == sorted(theirs)


def test_a_spec_holds_the_hash_of_both_files_and_survives_json(make):
    folder = make(GOOD)
    spec = resolve(str(folder))
    content = (folder / "toy_TRAIN.ts").read_bytes() + (folder / "toy_TEST.ts").read_bytes()
    assert spec.sha256 == hashlib.sha256(content).hexdigest()
    assert spec.name == "toy"
    assert "folder" not in spec.to_json()
    assert DataSpec.from_json(json.loads(json.dumps(spec.to_json()))).key() == spec.key()


def test_a_spec_without_folder_is_found_by_its_name(make, monkeypatch):
    spec = resolve(str(make(GOOD)))
    monkeypatch.setenv("AEON_DATA", spec.folder.removesuffix("/toy"))
    load.cache_clear()
    assert load(DataSpec.from_json(spec.to_json())).classes == ("a", "b")


def test_a_folder_may_be_named_otherwise_than_its_only_pair(make):
    spec = resolve(str(make(GOOD, name="mine", stem="Meter")))
    assert spec.name == "mine"
    assert len(load(spec).test) == len(GOOD)


def test_aeon_data_comes_before_the_bundled_sets_and_an_empty_folder_counts_for_nothing(make, monkeypatch):
    folder = make(GOOD, name="GunPoint")
    (folder.parent / "ArrowHead").mkdir()
    monkeypatch.setenv("AEON_DATA", str(folder.parent))
    assert resolve("GunPoint").folder == str(folder)
    assert len(load(resolve("ArrowHead")).test) == 175


def test_files_that_changed_since_they_were_described_are_refused(make):
    folder = make(GOOD)
    spec = resolve(str(folder))
    load.cache_clear()
    make(GOOD[:-1])
    assert_one_sentence(lambda: load(spec), "the files of toy in .* are not those that were described")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("plaid", "'plaid' is neither a folder nor a known UCR/UEA problem .did you mean PLAID"),
        ("NoSuchProblemAtAll", "'NoSuchProblemAtAll' is neither a folder nor a known UCR/UEA problem; give the name"),
        ("./nowhere", "there is no folder nowhere; give a folder with"),
        (".", "holds no \\*_TRAIN.ts and \\*_TEST.ts files; give the folder of a data set"),
        ("notes.txt", "notes.txt is a file; give the folder"),
    ],
)
def test_an_unknown_data_set_is_one_sentence(name, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").touch()
    assert_one_sentence(lambda: resolve(name), sentence)


def test_two_data_sets_in_one_folder_need_a_choice(make):
    make(GOOD, stem="one")
    folder = make(GOOD, stem="two")
    assert_one_sentence(lambda: resolve(str(folder)), r"holds more than one data set \(one, two\)")


@pytest.mark.parametrize("part", ["TRAIN", "TEST"])
def test_a_missing_file_is_named(make, part):
    folder = make(GOOD)
    (folder / f"toy_{part}.ts").unlink()
    assert_one_sentence(lambda: resolve(str(folder)), f"toy_{part}.ts is missing")


def test_an_unreadable_file_is_named(make):
    folder = make(GOOD)
    (folder / "toy_TEST.ts").unlink()
    (folder / "toy_TEST.ts").mkdir()
    assert_one_sentence(lambda: resolve(str(folder)), "toy_TEST.ts cannot be read .Is a directory.")


# Downloading


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home without data, on a machine without network."""

    def no_network(*_args, **_kwargs):
        raise URLError("Name or service not known")

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("AEON_DATA", raising=False)
    monkeypatch.setattr("aeon.datasets._data_loaders.urlopen", no_network)
    return tmp_path / "aeon_data"


def test_without_network_the_sentence_says_what_to_do_and_nothing_is_left_behind(home):
    sentence = (
        "PLAID is not on this machine .*Name or service not known.*PLAID_TRAIN.ts and PLAID_TEST.ts into .*AEON_DATA"
    )
    assert_one_sentence(lambda: resolve("PLAID"), sentence)
    assert list(home.iterdir()) == []


def test_a_truncated_download_is_not_kept_and_a_whole_one_is_used_again(home, monkeypatch):
    content = text(GOOD)

    def download(name, split, extract_path):
        folder = Path(extract_path) / name
        folder.mkdir()
        (folder / f"{name}_TRAIN.ts").write_text(text(GOOD))
        (folder / f"{name}_TEST.ts").write_text(content)

    monkeypatch.setattr(aeon.datasets, "load_classification", download)
    content = content[:-4]
    assert_one_sentence(lambda: resolve("PLAID"), "could not be downloaded .*cut short")
    assert list(home.iterdir()) == []
    content = text(GOOD)
    assert resolve("PLAID").folder == str(home / "PLAID")
    assert [path.name for path in home.iterdir()] == ["PLAID"]
    monkeypatch.delattr(aeon.datasets, "load_classification")
    assert len(load(resolve("PLAID")).test) == len(GOOD)


# Reading


def changed(line: int, row: str) -> str:
    """Return a good file in which one series is replaced."""
    return text(GOOD).replace(GOOD[line], row)


@pytest.mark.parametrize(
    ("train", "sentence"),
    [
        ("", r"toy_TRAIN.ts is empty"),
        (" \n\n", r"toy_TRAIN.ts is empty"),
        ("@problemName toy\n@classLabel true a b\n", r"toy_TRAIN.ts has no '@data' line; it is cut short, or"),
        ("\n".join(GOOD), r"toy_TRAIN.ts, line 1 is neither a comment nor a header line"),
        (HEADER.format(labels="a b"), r"toy_TRAIN.ts has no series after its '@data' line"),
        (text(GOOD)[:-4], r"line 11 \(series 6\) does not end in ':' and a label; .*probably cut short"),
        (changed(3, "9,8,7"), r"line 9 \(series 4\) does not end in ':' and a label; every"),
        (changed(3, "9,8,7:"), r"line 9 \(series 4\) has no label after its last ':'"),
        (changed(3, "9,8,7:?"), r"line 9 \(series 4\) has no label"),
        (changed(3, "9,8,7:c"), r"line 9 \(series 4\) has the label 'c', which .*'@classLabel' line does not list"),
        (changed(3, "9,?,7:b"), r"line 9 \(series 4\): value 2 of channel 1 is missing \('\?'\)"),
        (changed(3, "9,NaN,7:b"), r"line 9 \(series 4\): value 2 of channel 1 is missing \('NaN'\)"),
        (changed(3, "9,,7:b"), r"line 9 \(series 4\): value 2 of channel 1 is missing \(''\)"),
        (changed(3, ":b"), r"line 9 \(series 4\): value 1 of channel 1 is missing"),
        (changed(3, "9,x8,7:b"), r"line 9 \(series 4\): value 2 of channel 1 is not a number: 'x8'"),
        (changed(3, "9,inf,7:b"), r"line 9 \(series 4\): value 2 of channel 1 is infinite or too large.*'inf'"),
        (changed(3, "9,1e99,7:b"), r"line 9 \(series 4\): value 2 of channel 1 is infinite or too large"),
        (changed(3, "9,8,7:1,2,3:b"), r"line 9 \(series 4\) has 2 channel\(s\) where 1 are expected"),
        ("@dimensions 2\n" + text(GOOD), r"line 7 \(series 1\) has 1 channel\(s\) where 2 are expected"),
        ("@dimensions two\n" + text(GOOD), r"line 1: '@dimensions' must be a whole number"),
        (text(["1,2:3,4:a", "1,2:1:b"]), r"line 7 \(series 2\) has channels of different lengths \(1 and 2"),
        ("@equalLength true\n" + changed(3, "9,8:b"), r"line 10 \(series 4\) has 2 values where line 7 has 3"),
        ("@timestamps true\n" + text(GOOD), r"line 1: series with timestamps cannot be read"),
        ("@targetLabel true\n" + text(GOOD), r"line 1: this is a regression problem"),
        ("@classLabel false\n" + text(GOOD), r"line 1: the series have no class labels"),
        (text(GOOD[:3]), r"toy_TRAIN.ts holds only one class \('a'\)"),
    ],
)
def test_a_bad_training_file_is_one_sentence_that_says_where(make, train, sentence):
    folder = make(train)
    assert_one_sentence(lambda: load(resolve(str(folder))), sentence)


def test_gaps_are_interpolated_where_that_is_asked_for(make):
    plain = ["2,2,4,6,6:1,1,1,2,3:a", *(f"{i},1,2,3,4:0,0,0,0,{i}:{'ab'[i % 2]}" for i in range(5))]
    holed = ["?,2,,6,NaN:?,?,1,?,3:a", *plain[1:]]
    folder = str(make(holed, holed))
    assert_one_sentence(
        lambda: load(resolve(folder)), r"value 1 of channel 1 is missing \('\?'\); .*--gaps interpolate"
    )
    found = load(resolve(folder, scaling="none", gaps="interpolate"))
    whole = load(resolve(str(make(plain, plain, name="whole")), scaling="none"))
    for ours, theirs in zip(
        (found.train, found.valid, found.test), (whole.train, whole.valid, whole.test), strict=True
    ):
        assert [x.tolist() for x in ours.x] == [x.tolist() for x in theirs.x]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("?,?,?:b", r"line 9 \(series 4\): all values of channel 1 are missing; leave the series out"),
        ("?,inf,7:b", r"line 9 \(series 4\): value 2 of channel 1 is infinite"),
        ("?,x,7:b", r"line 9 \(series 4\): value 2 of channel 1 is not a number: 'x'"),
    ],
)
def test_what_no_interpolation_mends_is_refused(make, row, sentence):
    folder = make(changed(3, row))
    assert_one_sentence(lambda: load(resolve(str(folder), gaps="interpolate")), sentence)
    assert_one_sentence(lambda: resolve(str(folder), gaps="zero"), "unknown treatment of gaps 'zero'; choose refuse")


def test_a_bad_test_file_is_named(make):
    folder = make(GOOD, changed(1, "2,?,5:a"))
    assert_one_sentence(lambda: load(resolve(str(folder))), r"toy_TEST.ts, line 7 \(series 2\): value 2")


def test_a_test_label_that_train_does_not_hold_is_refused(make):
    folder = make(GOOD, ["1,2,3:a", "1,2,4:z"])
    sentence = r"toy_TEST.ts, line 7 \(series 2\) has the label 'z', which toy_TRAIN.ts does not hold; .* a, b"
    assert_one_sentence(lambda: load(resolve(str(folder))), sentence)


def test_another_number_of_channels_in_the_test_file_is_refused(make):
    folder = make(GOOD, ["1,2,3:4,5,6:a"])
    sentence = r"toy_TEST.ts has 2 channel\(s\) and toy_TRAIN.ts has 1"
    assert_one_sentence(lambda: load(resolve(str(folder))), sentence)


def test_a_file_from_elsewhere_is_read(make):
    """Windows line ends, a byte order mark, comments and blank lines among the data, spaces, labels in other case."""
    odd = "\ufeff" + text(GOOD).replace(GOOD[1], "# pause\n% another\n\n 2, 3 ,5 : a ").replace("true a b", "TRUE A B")
    folder = make(odd.replace("\n", "\r\n"))
    data = load(resolve(str(folder), scaling="none"))
    plain = load(resolve(str(make(GOOD, name="plain")), scaling="none"))
    assert [x.tolist() for x in data.train.x] == [x.tolist() for x in plain.train.x]
    assert data.classes == plain.classes == ("a", "b")


def test_a_damaged_npz_is_one_sentence_whichever_byte_is_wrong(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", x=np.random.default_rng(0).normal(size=(2, 24)))
    content, said = (tmp_path / "x.npz").read_bytes(), set()
    for place, bit in itertools.product(range(len(content)), (1, 8, 128)):
        damaged = bytearray(content)
        damaged[place] ^= bit
        try:
            read_npz(bytes(damaged), tmp_path / "x.npz")
        except UserError as error:
            said.add(str(error))
    assert f"{tmp_path / 'x.npz'} is damaged or no .npz file; save the series with numpy.savez(file, x=series)" in said
