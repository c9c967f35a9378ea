"""Export: a folder that says the truth about a measured model, and never takes what is not its own."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from test_deploy import needs_compiler

from tsc_lib import cli, data, runtimes
from tsc_lib.compress import Variant
from tsc_lib.core import store
from tsc_lib.core.errors import UserError
from tsc_lib.export import bundle, card
from tsc_lib.export.card import executed
from tsc_lib.export.predict import predict
from tsc_lib.export.write import export
from tsc_lib.models.zoo import configure
from tsc_lib.runtimes import convert
from tsc_lib.runtimes.conversion import Conversion, ProductChoice
from tsc_lib.study import Study, stages
from tsc_lib.study.profiles import load_profile
from tsc_lib.study.sections import DataChoice
from tsc_lib.study.specs import TrainingRun
from tsc_lib.training import TrainSpec

pytestmark = pytest.mark.sessions

RECIPE = "prune(l1, 0.5)"
BROKEN = ("int8(dynamic)", "eager")
VARIANT = Variant.parse(RECIPE, "onnxruntime")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """One training of the smoke profile, with a variant to export, and one whose runtime breaks."""
    patch = pytest.MonkeyPatch()
    patch.setattr(store, "OUTPUTS", tmp_path_factory.mktemp("outputs"))
    prepare = convert.convert

    def broken(model, runtime, folder, **options):
        if model.number_format == "int8 dynamic":
            raise RuntimeError("no kernel")
        return prepare(model, runtime, folder, **options)

    patch.setattr(convert, "convert", broken)
    variants = {RECIPE: ("onnxruntime",), BROKEN[0]: BROKEN[1:]}
    choices = (DataChoice("ItalyPowerDemand", "series"),)
    yield Study(dataclasses.replace(load_profile("smoke"), datasets=choices, seeds=(0,), variants=variants))
    patch.undo()


@pytest.fixture
def folder(study: Study, tmp_path: Path) -> Path:
    export(study, study.runs[0], VARIANT, tmp_path / "model")
    return tmp_path / "model"


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_exported_model_answers_as_the_study_recorded(study: Study, folder: Path) -> None:
    [run] = study.runs
    evaluation = study.evaluate(run, VARIANT)
    prediction = predict(folder, Path(run.data.folder) / "ItalyPowerDemand_TEST.ts")
    assert (prediction.logits.argmax(axis=1) == evaluation.predicted).all()
    assert prediction.count_correct() == (evaluation.correct.sum(), 1029)
    assert prediction.labels == data.load(run.data).classes


@pytest.mark.compiles
@pytest.mark.usefixtures("library_products")
@needs_compiler
def test_a_compiled_program_answers_as_the_study_recorded(study: Study, tmp_path: Path) -> None:
    compiled = Study(dataclasses.replace(study.profile, variants={RECIPE: ("inductor",)}))
    [run] = compiled.runs
    variant, test_file = Variant.parse(RECIPE, "inductor"), Path(run.data.folder) / "ItalyPowerDemand_TEST.ts"
    export(compiled, run, variant, tmp_path / "model", this_processor_only=True)
    assert "program.pt2" in files_in(tmp_path / "model")
    assert bundle.read(tmp_path / "model").instructions == runtimes.list_instructions("inductor")
    card = (tmp_path / "model" / "model_card.md").read_text()
    assert f"native code for processors with {runtimes.list_instructions('inductor')[0]}, " in card
    assert "`predict` wants `--trust-native-code`" in card and "it is no signature" in card
    prediction = predict(tmp_path / "model", test_file, batch_size=100, trust_native_code=True)
    evaluation = compiled.evaluate(run, Variant.parse(RECIPE, "inductor"))
    assert (prediction.logits.argmax(axis=1) == evaluation.predicted).all()
    eager = runtimes.load(stages.evaluate(run, Variant.parse(RECIPE, "eager")).folder, "eager")
    test = np.stack(data.load(run.data).test.x)
    np.testing.assert_allclose(prediction.logits, eager(test), atol=1e-5)


def test_a_folder_holds_the_model_and_nothing_of_the_training(folder: Path) -> None:
    described = bundle.read(folder)
    assert set(files_in(folder)) == {
        "model.json", "model.onnx", "bundle.json", "requirements.txt", "model_card.md", "SHA256SUMS"
    }  # fmt: skip
    assert (described.shortest, described.longest, described.equal_length) == (24, 24, True)
    assert described.instructions == ()
    assert (described.scaling.kind, described.gaps) == ("series", "refuse")
    requirements = (folder / "requirements.txt").read_text().splitlines()
    assert [line.partition("==")[0] for line in requirements] == ["numpy", "onnxruntime"]
    assert str(Path.home()) not in (folder / "bundle.json").read_text()
    checked = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, capture_output=True)
    assert checked.returncode == 0, checked.stderr


def test_the_card_tells_what_was_measured(study: Study, folder: Path) -> None:
    card = (folder / "model_card.md").read_text()
    rows = study.results().query("recipe == @RECIPE")
    for row in rows.itertuples():
        assert f"{row.accuracy:.4f} [{row.accuracy_low:.4f}, {row.accuracy_high:.4f}]" in card
        assert f"{row.accuracy_drop:.2f} [{row.accuracy_drop_low:.2f}, {row.accuracy_drop_high:.2f}]" in card
        assert (
            f"| {row.batch_size} | {row.cpu_ms_per_sample:.4g} | {row.cpu_ratio:.3f} [{row.cpu_ratio_low:.3f}" in card
        )
        assert f"{row.latency_p50_ms:.4g} / {row.latency_p95_ms:.4g}" in card
        assert f"{row.energy_mj_per_sample:.4g} [{row.energy_low_mj_per_sample:.4g}" in card
        assert f"{row.aa_ratio:.3f} [{row.aa_ratio_low:.3f}" in card
        assert f"{row.model_bytes:,.0f} bytes" in card
        assert f"{row.macs:,.0f} multiply-accumulates" in card
    [step] = study.evidence().query("recipe == @RECIPE").itertuples()
    assert f"{step.params_before:,} → {step.params_after:,}" in card
    assert "Energy is estimated (cputime)" in card
    assert "a saving in it is a saving in CPU time" in card
    assert study.host().cpu_model in card
    assert "nan" not in card.lower().split()
    assert "It holds no native code and runs on every processor that onnxruntime works on" in card
    assert "it is no signature" in card


def test_the_card_counts_linear_layers_in_every_format() -> None:
    assert executed(Conversion(100, 14, 0)) == "14 linear layers run in int8 and 0 in fp32"
    assert executed(Conversion(100, 0, 0, bf16_ops=14)) == "0 linear layers run in int8, 14 in bf16 and 0 in fp32"
    products = (
        ProductChoice(1, {"library": 2.0, "compiler": 1.0}),
        ProductChoice(64, {"library": 1.0, "compiler": 2.0}),
    )
    assert executed(Conversion(100, 0, 14, products=products)).endswith(
        "the compiler's own loops for 1 series a call and PyTorch's library for 64 series a call"
    )


def test_an_earlier_export_is_replaced_whole(study: Study, folder: Path) -> None:
    before = files_in(folder)
    (folder / "model.onnx").write_bytes(b"damaged")
    export(study, study.runs[0], Variant.parse("baseline", "eager"), folder)
    assert bundle.read(folder).runtime == "eager"
    assert "model.onnx" not in files_in(folder)
    export(study, study.runs[0], VARIANT, folder)
    assert files_in(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_what_no_export_wrote_is_left_alone(study: Study, folder: Path, tmp_path: Path) -> None:
    (folder / "predictions.csv").write_text("mine")
    with pytest.raises(UserError, match=r"model holds predictions.csv, which no export wrote; name another folder"):
        export(study, study.runs[0], VARIANT, folder)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "bundle.json").write_text("{}")
    with pytest.raises(UserError, match=r"thesis holds bundle.json, which no export wrote"):
        export(study, study.runs[0], VARIANT, tmp_path / "thesis")
    with pytest.raises(UserError, match=r"predictions.csv is a file; name a folder"):
        export(study, study.runs[0], VARIANT, folder / "predictions.csv")
    assert json.loads((tmp_path / "thesis" / "bundle.json").read_text()) == {}
    (tmp_path / "empty").mkdir()
    export(study, study.runs[0], VARIANT, tmp_path / "empty")


def test_what_comes_while_the_export_is_made_is_left_alone(
    study: Study, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = bundle.write

    def slow(*given):
        (folder / "predictions.csv").write_text("mine")
        write(*given)

    monkeypatch.setattr(bundle, "write", slow)
    with pytest.raises(UserError, match=r"model holds predictions.csv, which no export wrote"):
        export(study, study.runs[0], VARIANT, folder)
    assert (folder / "predictions.csv").read_text() == "mine"
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_native_code_is_made_only_if_it_is_asked_for(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Study, "run_results", None)
    inductor = Variant.parse(RECIPE, "inductor")
    with pytest.raises(UserError, match=r"inductor compiles a model for processors like this one alone; ask for that"):
        export(study, study.runs[0], inductor, tmp_path / "model")
    with pytest.raises(
        UserError, match=r"a model for onnxruntime runs on every processor; leave --this-processor-only"
    ):
        export(study, study.runs[0], VARIANT, tmp_path / "model", this_processor_only=True)


def test_a_folder_of_the_same_look_is_left_alone(study: Study, folder: Path, tmp_path: Path) -> None:
    release = tmp_path / "release"
    release.mkdir()
    for name in ("bundle.json", "photo.jpg"):
        (release / name).write_text("{}")
    sums = subprocess.run(["sha256sum", "bundle.json", "photo.jpg"], cwd=release, capture_output=True).stdout
    (release / "SHA256SUMS").write_bytes(sums)
    before = files_in(release)
    with pytest.raises(UserError, match=r"release holds SHA256SUMS, which no export wrote"):
        export(study, study.runs[0], VARIANT, release)
    assert files_in(release) == before
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").mkdir()
    (folder / "model.onnx" / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match=r"model holds model.onnx, which no export wrote"):
        export(study, study.runs[0], VARIANT, folder)
    assert (folder / "model.onnx" / "thesis.tex").read_text() == "mine"


def test_a_link_to_a_folder_stays_one(study: Study, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    export(study, study.runs[0], VARIANT, tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and bundle.read(tmp_path / "link").runtime == "onnxruntime"


def test_a_folder_that_cannot_be_made_is_told_before_any_work(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Study, "run_results", None)
    for root in ("/", "/..", str(tmp_path / "/".join([".."] * 20))):
        with pytest.raises(UserError, match=r"is the root of all folders; name a folder to export to"):
            export(study, study.runs[0], VARIANT, Path(root))
    with pytest.raises(UserError, match=r"cannot be made \(.*File name too long.*\); name another folder"):
        export(study, study.runs[0], VARIANT, tmp_path / ("x" * 300))
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(UserError, match=r"circle/model cannot be made \(.*\); name another folder"):
        export(study, study.runs[0], VARIANT, tmp_path / "circle" / "model")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(UserError, match=r"is the folder that you are in"):
        export(study, study.runs[0], VARIANT, Path("."))
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=r"deep/model cannot be made, because .*file is no folder to write to; name"):
        export(study, study.runs[0], VARIANT, tmp_path / "file" / "deep" / "model")
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)  # to root everything is writable
    with pytest.raises(UserError, match=r"model cannot be made, because .* is no folder to write to"):
        export(study, study.runs[0], VARIANT, tmp_path / "model")


def test_an_export_that_fails_leaves_the_earlier_one(
    study: Study, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, rename = files_in(folder), os.rename

    def full(source, target):
        if Path(source).name == "new":
            raise OSError("No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(UserError, match=r"model cannot be written \(No space.*\); mend that or name another folder"):
        export(study, study.runs[0], VARIANT, folder)
    assert files_in(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_variant_that_failed_cannot_be_exported(study: Study, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"int8\(dynamic\) in eager cannot be exported, because it failed: .*no kernel"):
        export(study, study.runs[0], Variant.parse(*BROKEN), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_the_command_exports(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "_study", lambda options, runtime: (study, VARIANT))
    assert cli.main(["export", str(tmp_path / "deep" / "model"), "--dataset", "ItalyPowerDemand"]) == 0
    assert "model_card.md" in capsys.readouterr().out
    assert bundle.read(tmp_path / "deep" / "model").recipe == RECIPE


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, " of the training file were held out for validation (neighbours in it, class by class), and 1029"),
        ({"refit": True}, " and trained it in the end, and 1029 of the test file tested it."),
        ({"refit": True, "keep": "last"}, "67 series trained it, none of the training file were held out, and 1029 of"),
    ],
)
def test_the_card_says_which_series_trained(changes: dict[str, object], said: str) -> None:
    spec = data.resolve("ItalyPowerDemand")
    run = TrainingRun(spec, "T1", TrainSpec().change(changes), 0)
    assert said in card._data_and_model(run, data.load(spec), configure("T1", 1, 2))[0]
