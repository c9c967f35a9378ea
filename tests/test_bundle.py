"""Exported folders: whatever is wrong with one is told in one sentence."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from exported import describe_again, rewrite

import tsc_lib
from tsc_lib import cli, runtimes
from tsc_lib.core.errors import UserError
from tsc_lib.export import bundle
from tsc_lib.export.predict import predict


@pytest.fixture
def model(models: Path, tmp_path: Path) -> Path:
    """A copy of ``fixed`` to damage."""
    return Path(shutil.copytree(models / "fixed", tmp_path / "model"))


def refused(folder: Path, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        bundle.load(folder, bundle.read(folder), 1)
    assert "\n" not in str(caught.value)


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "there is no folder .*nowhere; give one that 'export' wrote")
    refused(tmp_path, "holds no exported model")
    for content in ("[]", "{}", '{"format": "zip"}'):
        (tmp_path / "bundle.json").write_text(content)
        refused(tmp_path, "holds no exported model")


@pytest.mark.parametrize("name", ["model.onnx", "model.json", "model_card.md", "bundle.json", "requirements.txt"])
def test_a_changed_or_missing_file_is_named(model: Path, name: str) -> None:
    content = bytearray((model / name).read_bytes())
    content[len(content) // 2] ^= 1
    (model / name).write_bytes(content)
    refused(model, f"{name} is not what 'export' wrote, so it was damaged or edited")
    (model / name).unlink()
    refused(model, f"{name} is missing; copy|holds no exported model")


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a":' * 100_000, f"[{'1' * 5000}]"])
def test_a_description_that_json_cannot_hold_is_refused(model: Path, content: str) -> None:
    (model / "bundle.json").write_text(content)
    refused(model, "bundle.json is not what 'export' wrote")


@pytest.mark.parametrize("content", ["", "\n", "nonsense\n", "../../etc/passwd\n", "\udcff"])
def test_damaged_checksums_are_refused(model: Path, content: str) -> None:
    (model / "SHA256SUMS").write_bytes(content.encode(errors="surrogateescape"))
    refused(model, "is not what 'export' wrote")


DIGEST = "0" * 64


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + text.splitlines(keepends=True)[0],
        lambda text: text + f"{DIGEST}  ../model.onnx\n",
        lambda text: text + f"{DIGEST}  /etc/passwd\n",
        lambda text: text + f"{DIGEST}  ..\n",
        lambda text: text + f"{DIGEST} *more\n",
        lambda text: text + "\n",
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\u2028"),
        str.upper,
    ],
    ids=["twice", "above", "absolute", "dots", "binary", "empty line", "CRLF", "another line end", "capitals"],
)
def test_checksums_in_another_form_are_refused(model: Path, change: Callable[[str], str]) -> None:
    sums = model / bundle.SUMS
    sums.write_bytes(change(sums.read_text()).encode())
    refused(model, "SHA256SUMS is not what 'export' wrote")


@pytest.mark.parametrize("runtime", ["eager", "onnxruntime", "openvino"])
def test_every_file_must_be_listed(models: Path, tmp_path: Path, runtime: str) -> None:
    folder = Path(shutil.copytree(models / f"any-{runtime}", tmp_path / "model"))
    lines = (folder / bundle.SUMS).read_text().splitlines(keepends=True)
    for line in lines:
        (folder / bundle.SUMS).write_text("".join(other for other in lines if other != line))
        refused(folder, f"SHA256SUMS does not list {line.split()[1]}, so nobody can tell whether it is what")


def test_a_listed_file_must_be_there(model: Path) -> None:
    sums = model / bundle.SUMS
    sums.write_text(sums.read_text() + f"{DIGEST}  Model.onnx\n")
    refused(model, "Model.onnx is missing; copy")
    sums.unlink()
    refused(model, "SHA256SUMS is missing; copy")


@pytest.mark.parametrize("name", ["SHA256SUMS", "bundle.json", "model.onnx", "requirements.txt"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_a_pipe_or_a_folder_is_no_file_of_a_model(model: Path, name: str, make: Callable[[Path], None]) -> None:
    (model / name).unlink()
    make(model / name)
    refused(model, f"{name} is missing; copy|holds no exported model")


def test_links_to_sound_files_are_read_and_links_to_others_are_not(model: Path, tmp_path: Path) -> None:
    graph = model / "model.onnx"
    graph.rename(tmp_path / "blob")
    graph.symlink_to(tmp_path / "blob")
    (tmp_path / "link").symlink_to(model)
    bundle.load(tmp_path / "link", bundle.read(tmp_path / "link"), 1)
    (tmp_path / "blob").write_bytes(b"another")
    refused(model, "model.onnx is not what 'export' wrote")


def test_a_file_that_cannot_be_read_is_one_sentence(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(file: object, name: str) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(hashlib, "file_digest", broken)
    refused(model, r"model cannot be read \(.*Input/output error\); mend that, or copy the folder again")


def test_a_newer_format_is_refused(model: Path) -> None:
    describe_again(model, format=99)
    refused(model, "was exported by a newer tsc_lib .its format is 99, this one reads 4.; update tsc_lib")


def test_older_formats_refuse_gaps_and_run_on_every_processor(model: Path) -> None:
    rewrite(model, bundle.DESCRIPTION, lambda content: (content.pop("instructions"), content.update(format=2)))
    assert bundle.read(model).instructions == ()
    rewrite(model, bundle.DESCRIPTION, lambda content: (content.pop("gaps"), content.update(format=1)))
    assert (bundle.read(model).gaps, bundle.read(model).instructions) == ("refuse", ())


@pytest.mark.parametrize("number_format", ["int8 static", "int8 dynamic"])
def test_int8_of_an_older_format_may_be_wrong_here_and_is_refused(model: Path, number_format: str) -> None:
    describe_again(model, number_format=number_format, format=3)
    refused(model, "was exported by an older tsc_lib, whose int8 models and native code are right on some processors")
    describe_again(model, number_format=number_format, format=4)
    bundle.read(model)


@pytest.fixture
def native(model: Path) -> Path:
    """A model that claims to be native code for this processor; its programs are no programs."""
    for name in ("program.pt2", "program-one.pt2"):
        (model / name).write_bytes(b"code")
    sums = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in model.glob("*.pt2"))
    (model / bundle.SUMS).write_text((model / bundle.SUMS).read_text() + sums)
    describe_again(model, runtime="inductor", instructions=list(runtimes.list_instructions("inductor")))
    return model


@pytest.fixture
def no_program_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def ran(*given: object) -> None:
        pytest.fail("native code was loaded")

    monkeypatch.setattr("tsc_lib.runtimes.inductor.predict.load_program", ran)


@pytest.mark.usefixtures("no_program_is_loaded")
def test_native_code_is_loaded_only_if_it_is_trusted(
    native: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match=r"holds native code for inductor, .* checksums do not tell who made it"):
        tsc_lib.load(native)
    np.savez(tmp_path / "x.npz", x=np.ones((2, 1, 24)))
    assert cli.main(["predict", str(native), str(tmp_path / "x.npz")]) == 1
    assert "if you trust its source, add --trust-native-code" in capsys.readouterr().err


def test_trusted_native_code_is_loaded(native: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "x.npz", x=np.ones((2, 1, 24)))
    assert cli.main(["predict", "--trust-native-code", str(native), str(tmp_path / "x.npz")]) == 1
    assert "inductor cannot load" in capsys.readouterr().err


@pytest.mark.usefixtures("no_program_is_loaded")
def test_native_code_for_another_processor_is_refused(native: Path) -> None:
    describe_again(native, instructions=[*runtimes.list_instructions("inductor"), "avx9000", "amx_fp1"])
    with pytest.raises(UserError, match="compiled for a processor with amx_fp1, avx9000, which this one lacks; export"):
        tsc_lib.load(native, trust_native_code=True)
    describe_again(native, instructions=["riscv64"])
    with pytest.raises(UserError, match="compiled for a processor with riscv64, which this one lacks"):
        tsc_lib.load(native, trust_native_code=True)


@pytest.mark.parametrize(
    ("runtime", "instructions"), [("inductor", []), ("onnxruntime", ["avx2"])], ids=["native code", "data"]
)
def test_instructions_belong_to_native_code_and_to_nothing_else(
    native: Path, runtime: str, instructions: list[str]
) -> None:
    describe_again(native, runtime=runtime, instructions=instructions)
    refused(native, "bundle.json is not what 'export' wrote")


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"format": True},
        {"format": 0},
        {"labels": 3},
        {"labels": "abc"},
        {"labels": []},
        {"labels": ["a", 2, "c"]},
        {"labels": ["a", "\ud800", "c"]},
        {"dataset": "two\nlines"},
        {"channels": "1"},
        {"channels": True},
        {"channels": None},
        {"patch": 0},
        {"patch": 8.0},
        {"shortest": 25},
        {"longest": "24"},
        {"equal_length": 1},
        {"runtime": ["onnxruntime"]},
        {"threads": 0},
        {"versions": []},
        {"versions": {"numpy": 2}},
        {"instructions": "avx2"},
        {"instructions": [2]},
        {"gaps": "zero"},
        {"scaling": "none"},
        {"scaling": {}},
        {"scaling": {"kind": "zscore"}},
        {"scaling": {"kind": "channel"}},
        {"scaling": {"kind": "channel", "mean": 0.0, "deviation": 1.0}},
        {"scaling": {"kind": "channel", "mean": [None], "deviation": [1.0]}},
        {"scaling": {"kind": "channel", "mean": ["a"], "deviation": [1.0]}},
        {"scaling": {"kind": "channel", "mean": [0.0, 0.0], "deviation": [1.0, 1.0]}},
        {"scaling": {"kind": "channel", "mean": [0.0], "deviation": [0.0]}},
        {"scaling": {"kind": "channel", "mean": [0.0], "deviation": [-1.0]}},
        {"scaling": {"kind": "none", "mean": [0.0], "deviation": [1.0]}},
    ],
    ids=str,
)
def test_a_description_with_other_content_is_refused(model: Path, change: dict) -> None:
    describe_again(model, **change)
    refused(model, "bundle.json is not what 'export' wrote|holds no exported model")


@pytest.mark.parametrize("name", ["labels", "patch", "scaling", "gaps", "threads", "versions", "instructions"])
def test_a_description_that_lacks_something_is_refused(model: Path, name: str) -> None:
    rewrite(model, bundle.DESCRIPTION, lambda content: content.pop(name))
    refused(model, "bundle.json is not what 'export' wrote")


def test_an_unknown_runtime_in_the_description_is_one_sentence(model: Path) -> None:
    describe_again(model, runtime="tpu")
    refused(model, "unknown runtime 'tpu'; the runtimes are eager")


@pytest.mark.parametrize("runtime", ["eager", "onnxruntime", "openvino"])
@pytest.mark.parametrize(
    "change",
    [
        lambda facts: facts.pop("config"),
        lambda facts: facts.pop("number_format"),
        lambda facts: facts.update(config=[]),
        lambda facts: facts.update(number_format="fp12"),
        lambda facts: facts.pop("stride"),
        lambda facts: facts.update(stride="8"),
        lambda facts: facts.update(stride=0),
    ],
    ids=["no config", "no format", "config a list", "unknown format", "no stride", "stride as text", "no steps"],
)
def test_a_model_json_with_other_content_is_refused(
    models: Path, tmp_path: Path, runtime: str, change: Callable[[dict], object]
) -> None:
    folder = Path(shutil.copytree(models / f"any-{runtime}", tmp_path / "model"))
    rewrite(folder, "model.json", change)
    refused(
        folder,
        "model.json does not describe a model as this version does; copy the folder again, or make the model again",
    )


@pytest.mark.parametrize(
    "change",
    [
        {"layers": 3},
        {"layers": []},
        {"layers": ["3"]},
        {"channels": None},
        {"layers": [{"heads": 3, "d_ff": 25, "ranks": {}, "reduction": None}]},
        {"layers": [{"heads": "3", "d_ff": 24, "ranks": {}, "reduction": None}]},
        {"embedding": {"kind": "words", "patch": 8}},
        {"dropout": "much"},
        {"new": 1},
    ],
    ids=str,
)
def test_a_network_that_does_not_fit_its_weights_is_refused(models: Path, tmp_path: Path, change: dict) -> None:
    folder = Path(shutil.copytree(models / "one", tmp_path / "model"))
    rewrite(folder, "model.json", lambda facts: facts["config"].update(change))
    refused(folder, r"model.json and model.safetensors do not describe a network as this version does \(.+\); copy")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"labels": ["a", "b"]}, "answers 2 series with 2 by 3 numbers, but its description has 2 labels"),
        ({"channels": 2}, r"onnxruntime cannot execute .*model \(.+\); if memory is short give a smaller batch size"),
        ({"shortest": 40, "longest": 40}, r"onnxruntime cannot execute"),
    ],
    ids=str,
)
def test_a_description_of_another_model_is_one_sentence(
    model: Path, tmp_path: Path, change: dict, sentence: str
) -> None:
    describe_again(model, **change)
    described = bundle.read(model)
    np.savez(tmp_path / "x.npz", x=np.ones((2, described.channels, described.shortest)))
    with pytest.raises(UserError, match=sentence) as caught:
        predict(model, tmp_path / "x.npz")
    assert "\n" not in str(caught.value)


def test_a_model_that_the_runtime_cannot_load_is_one_sentence(model: Path) -> None:
    described = bundle.read(model)
    (model / "model.onnx").write_bytes(b"no graph")
    (model / bundle.SUMS).unlink()
    bundle.write(model, described, "card")
    refused(model, r"onnxruntime cannot load .* install the versions that it was exported with: pip install -r")


def test_a_runtime_that_is_not_installed_names_what_to_install(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    refused(model, r"needs onnxruntime, which is not installed: pip install onnxruntime, or .*requirements.txt")


def test_a_signature_may_lie_beside_the_checksums(model: Path) -> None:
    (model / "SHA256SUMS.sig").write_text("signed")
    bundle.load(model, bundle.read(model), 1)


@pytest.mark.parametrize("name", ["predictions.csv", ".hidden", "folder/weights.bin"])
def test_other_files_beside_the_model_are_refused(model: Path, name: str) -> None:
    (model / name).parent.mkdir(exist_ok=True)
    (model / name).write_text("mine")
    refused(model, rf"also holds {name.partition('/')[0]}, which SHA256SUMS does not list and the model might read")


def test_weights_outside_of_the_checksums_are_refused(model: Path) -> None:
    onnx = pytest.importorskip("onnx")
    described, graph = bundle.read(model), onnx.load(model / "model.onnx")
    (model / "SHA256SUMS").unlink()
    onnx.save(graph, model / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    weights = (model / "weights.bin").read_bytes()
    (model / "weights.bin").unlink()
    bundle.write(model, described, "card")
    (model / "weights.bin").write_bytes(weights)
    refused(model, "also holds weights.bin")


def test_a_label_that_stands_twice_is_refused(model: Path) -> None:
    describe_again(model, labels=["day", "day", "3"])
    refused(model, "bundle.json is not what 'export' wrote")


def test_a_name_that_stands_twice_in_a_description_is_refused(model: Path) -> None:
    text = (model / "bundle.json").read_text()
    (model / "bundle.json").write_text(text.replace("{", '{"labels": ["3", "day", "night"],', 1))
    refused(model, "bundle.json is not what 'export' wrote")
