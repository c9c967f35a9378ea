"""A study's tables: complete, consistent, and honest about what failed."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tsc_lib import data
from tsc_lib.analysis.tables import pruning_steps
from tsc_lib.compress import BASELINE, REFERENCE, Variant
from tsc_lib.core import store
from tsc_lib.core.errors import UserError
from tsc_lib.notebook import open_study
from tsc_lib.runtimes import convert
from tsc_lib.study import Study, stages
from tsc_lib.study.plan import find_run, name_job
from tsc_lib.study.profiles import load_profile
from tsc_lib.study.schema import COLUMNS, COSTS, EVIDENCE, QUALITIES, qualities
from tsc_lib.study.sections import Ablation, DataChoice, Exclusion
from tsc_lib.study.versions import STAGES, version

pytestmark = pytest.mark.sessions


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The smoke profile, one seed, with one variant whose runtime breaks."""
    patch = pytest.MonkeyPatch()
    patch.setattr(store, "OUTPUTS", tmp_path_factory.mktemp("outputs"))
    prepare = convert.convert

    def broken(model, runtime, folder, **options):
        if model.number_format == "int8 dynamic":
            raise RuntimeError("no kernel")
        return prepare(model, runtime, folder, **options)

    patch.setattr(convert, "convert", broken)
    profile = replace(load_profile("smoke"), seeds=(0,))
    yield Study(profile)
    patch.undo()


def test_one_row_per_variant_and_batch_size(study: Study) -> None:
    table = study.results()
    assert list(table.columns) == COLUMNS
    assert len(table) == len(study.variants) * 2
    assert not table.duplicated(["dataset", "model", "recipe", "runtime", "seed", "batch_size"]).any()


def test_a_failed_variant_is_a_row_with_its_reason_and_no_numbers(study: Study) -> None:
    table = study.results()
    failed = table[table.recipe == "int8(dynamic)"]
    assert set(failed.status) == {"failed: RuntimeError: no kernel"}
    assert failed[QUALITIES + COSTS].isna().all(axis=None)
    assert set(table[table.recipe != "int8(dynamic)"].status) == {"ok"}


def test_the_reference_is_compared_with_itself(study: Study) -> None:
    reference = study.results().query("recipe == 'baseline' and runtime == 'eager'")
    assert (reference[["cpu_ratio", "cpu_ratio_low", "cpu_ratio_high"]] == 1).all(axis=None)
    assert (reference.accuracy_drop == 0).all()
    assert (reference.aa_ratio != 1).all()


def test_energy_is_cpu_time_times_watts(study: Study) -> None:
    table = study.results().query("status == 'ok'")
    assert set(table.energy_source) == {"estimated"}
    np.testing.assert_allclose(table.energy_mj_per_sample, 5 * table.cpu_ms_per_sample, rtol=1e-3)


def test_removal_shows_in_the_table_and_masks_do_not(study: Study) -> None:
    table = study.results().query("batch_size == 16 and runtime == 'eager'").set_index("recipe")
    assert table.macs["mask(l1, 0.5)"] == table.macs["baseline"]
    assert table.nonzero_params["mask(l1, 0.5)"] < 0.6 * table.params["mask(l1, 0.5)"]
    assert table.macs["prune(l1, 0.5)"] < 0.6 * table.macs["baseline"]
    assert table.model_bytes["prune(l1, 0.5)"] < 0.6 * table.model_bytes["baseline"]


def untimed(value):
    """JSON without what a clock or the memory says."""
    if isinstance(value, dict):
        return {k: untimed(v) for k, v in value.items() if not k.endswith(("seconds", "peak_mb"))}
    return [untimed(v) for v in value] if isinstance(value, list) else value


def test_poisoned_test_labels_change_nothing_but_the_score(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [run] = study.runs
    load = data.load

    def poisoned(spec):
        dataset = load(spec)
        return replace(dataset, test=data.Split(dataset.test.x, 1 - dataset.test.y))

    found = []
    for place, loads in (("true", load), ("poisoned", poisoned)):
        monkeypatch.setattr(store, "OUTPUTS", tmp_path / place)
        monkeypatch.setattr(data, "load", loads)
        for recipe in ("prune(taylor, 0.5) > finetune(2)", "student(1, 2, 16, 16) > distill(2)"):
            evaluation = stages.evaluate(run, Variant.parse(recipe, "eager"))
            _, trained = stages.train(run)
            found.append(((evaluation.folder / "model.safetensors").read_bytes(), evaluation, trained))
    for (weights, record, trained), (others, other, again) in zip(found[:2], found[2:], strict=True):
        assert weights == others and untimed(trained) == untimed(again)
        # Predictions, and how every epoch was chosen.
        assert untimed({**record.to_json(), "true": other.true.tolist()}) == untimed(other.to_json())
        assert (other.true == 1 - record.true).all()
        copies = np.arange(len(record.true)) < 5
        found, turned = (qualities(each, each, copies) for each in (record, other))
        assert turned["accuracy"] == pytest.approx(1 - found["accuracy"])
        assert set(found) >= set(QUALITIES)
        assert found["test_in_train"] == 5 and found["accuracy_unseen"] == record.correct[5:].mean()
        assert np.isnan(qualities(record, record, copies | True)["accuracy_unseen"])


def test_only_what_is_wanted_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "OUTPUTS", tmp_path)
    study = Study(replace(load_profile("smoke"), seeds=(0,)))
    table = study.results([REFERENCE])
    assert set(zip(table.recipe, table.runtime, table.status, strict=True)) == {("baseline", "eager", "ok")}
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["benchmark", "data", "evaluate", "train"]
    assert not study.is_done(study.runs[0])


def test_what_is_wanted_comes_from_the_whole_session_where_there_is_one(study: Study) -> None:
    whole = study.results().query("recipe == 'baseline' and runtime == 'eager'").reset_index(drop=True)
    assert study.is_done(study.runs[0])
    columns = ["batch_size", "accuracy", "cpu_ms_per_sample", "energy_mj_per_sample"]
    assert study.results([REFERENCE])[columns].equals(whole[columns])


def test_predictions_histories_and_removed_structure(study: Study) -> None:
    predictions = study.predictions()
    assert len(predictions) == 1029
    accuracy = study.results().query("recipe == 'baseline'").accuracy.iloc[0]
    assert (predictions.true == predictions.predicted).mean() == pytest.approx(accuracy)
    histories = study.histories()
    assert histories.epoch.tolist() == [1, 2]
    assert histories.best.sum() == 1
    removed = study.removed().query("recipe == 'prune(l1, 0.5)'")
    assert removed.groupby(["part"]).kept.mean().tolist() == [0.5, 0.5]
    assert set(study.aa_windows().batch_size) == {1, 16}


def test_what_one_stage_computes_is_part_of_all_that_follows(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    order = [version(stage) for stage in ("train", "compress", "evaluate", "benchmark")]
    assert all(after[: len(before)] == before for before, after in pairwise(order))
    before = name_job(study, "prepare", study.runs[0])
    monkeypatch.setitem(STAGES, "compress", replace(STAGES["compress"], version=0))
    assert name_job(study, "prepare", study.runs[0]) != before


def test_job_names_change_with_what_the_job_depends_on(study: Study) -> None:
    [run] = study.runs
    faster = Study(replace(study.profile, benchmark=replace(study.profile.benchmark, blocks=7)))
    other = Study(replace(study.profile, variants={"baseline": ("eager",)}))
    for stage in ("prepare", "benchmark"):
        assert name_job(other, stage, run) != name_job(study, stage, run)
    assert name_job(faster, "prepare", run) == name_job(study, "prepare", run)
    assert name_job(faster, "benchmark", run) != name_job(study, "benchmark", run)
    assert find_run(Study(study.profile, only=run.data.name), run.data.name, run.model, run.seed) == run
    with pytest.raises(UserError, match="has no run of T2 on ItalyPowerDemand with seed 0"):
        find_run(study, run.data.name, "T2", 0)


@pytest.mark.parametrize("name", ["smoke", "quick", "paper"])
def test_every_profile_runs_its_ablation(name: str) -> None:
    study = Study.open(name)
    assert study.ablated in study.variants and study.ablated.recipe != BASELINE


def test_an_ablation_that_is_not_run_is_refused(study: Study) -> None:
    with pytest.raises(UserError, match="its ablation, baseline in openvino, is not among its variants"):
        _ = Study(replace(study.profile, ablation=Ablation("baseline", "openvino"))).ablated


def test_notebook_parameters_narrow_the_study() -> None:
    study = open_study("smoke", [], ["T2"], [7])
    assert (study.profile.models, study.profile.seeds) == (("T2",), (7,))
    assert [choice.name for choice in study.profile.datasets] == ["ItalyPowerDemand"]


def test_a_data_set_may_have_seeds_of_its_own(study: Study) -> None:
    [choice] = study.profile.datasets
    profile = replace(study.profile, seeds=(3,), datasets=(replace(choice, seeds=(4, 3)), DataChoice("GunPoint")))
    seeded = [(spec.name, seed) for spec, _, seed in Study(profile).list_seeded()]
    assert seeded == [(choice.name, 3), ("GunPoint", 3), (choice.name, 4)]
    assert profile.all_seeds == (3, 4)
    assert profile.describe_seeds() == f"4, 3 of {choice.name}; 3 of the others"
    assert study.profile.describe_seeds() == ", ".join(map(str, study.profile.seeds))
    assert {(run.data.name, run.seed) for run in Study(profile).all_runs} == set(seeded)
    with pytest.raises(UserError, match=f"'seeds' of {choice.name} lack 5, the profile's first"):
        replace(profile, seeds=(5,))
    with pytest.raises(UserError, match="every entry of 'seeds' of GunPoint must be a whole number from 0 to"):
        replace(profile, datasets=(DataChoice("GunPoint", seeds=(-1,)),))


def test_what_is_excluded_is_left_out() -> None:
    study = Study.open("quick")
    runs = {(run.data.name, run.model): run for run in study.runs}
    ours = {("ACSF1", "ConvTransformer"), ("ItalyPowerDemand", "ConvTransformer")}
    assert set(runs) == {("ACSF1", "T1"), ("ItalyPowerDemand", "T1"), ("ItalyPowerDemand", "T2"), *ours}
    assert study.variants_of(runs["ItalyPowerDemand", "T1"]) == study.variants
    excluded = {each.recipe for each in study.profile.exclude if each.model == "ConvTransformer"}
    for name, model in ours:
        kept = study.variants_of(runs[name, model])
        assert {str(v.recipe) for v in study.variants if v not in kept} == excluded != set()
    asked_for = Study.open("quick", models=["T2"])
    assert {(run.data.name, run.model) for run in asked_for.runs} == {("ACSF1", "T2"), ("ItalyPowerDemand", "T2")}


def test_an_exclusion_leaves_out_what_agrees_with_all_that_it_names(study: Study) -> None:
    [run] = study.runs
    names = {"dataset": run.data.name, "model": run.model}
    others = [v for v in study.variants if str(v.recipe) != "prune(l1, 0.5)"]
    for exclusion, left in [
        (Exclusion(**names, recipe="prune( l1,0.50)"), others),
        (Exclusion(dataset="another", recipe="prune(l1, 0.5)"), study.variants),
        (Exclusion(runtime="eager"), [REFERENCE]),
    ]:
        assert Study(replace(study.profile, exclude=(exclusion,))).variants_of(run) == left
    with pytest.raises(UserError, match="'exclude' leaves no model to train on any data set"):
        replace(study.profile, exclude=(Exclusion(model=run.model),))


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"profile": "smoke", "seeds": 3}, "parameter 'seeds' must be a list, not 3"),
        ({"profile": None}, "parameter 'profile' must be text, not None"),
        ({"profile": float("nan")}, "parameter 'profile' must be text, not nan"),
        ({"profile": "smoke", "seeds": float("nan")}, "parameter 'seeds' must be a list, not nan"),
        ({"profile": "smoke", "seeds": [0.5]}, "every entry of parameter 'seeds' must be a whole number, not 0.5"),
        ({"profile": "smoke", "seeds": [True]}, "every entry of parameter 'seeds' must be a whole number, not True"),
        ({"profile": "smoke", "seeds": [-1]}, "every entry of 'seeds' must be a whole number from 0 to"),
        ({"profile": "smoke", "seeds": [0, 0]}, "parameter 'seeds' has 0 twice; leave one out"),
        ({"profile": "smoke", "models": [None]}, "every entry of parameter 'models' must be text, not None"),
        ({"profile": "smoke", "datasets": [0.5]}, "every entry of parameter 'datasets' must be text, not 0.5"),
        ({"profile": "smoke", "datasets": "PLAID"}, "parameter 'datasets' must be a list, not 'PLAID'"),
        ({"profile": "nothing"}, "there is no profile 'nothing'"),
        ({"profile": "smoke", "models": ["T5"]}, "unknown model 'T5'"),
    ],
)
def test_wrong_notebook_parameters_are_refused(parameters: dict, said: str) -> None:
    with pytest.raises(UserError) as caught:
        open_study(**parameters)
    assert said in str(caught.value)


def test_a_folder_may_be_given_as_data_set(tmp_path: Path) -> None:
    study = Study.open("smoke", datasets=[str(tmp_path / "Nowhere")])
    with pytest.raises(UserError, match="there is no folder"):
        study.runs  # noqa: B018 - a property that looks for the files


def test_without_strategies_there_is_evidence_of_nothing(study: Study) -> None:
    bare = Study(replace(study.profile, variants={"baseline": ("eager",)}))
    evidence = bare.evidence()
    assert list(evidence.columns) == EVIDENCE and evidence.empty
    assert pruning_steps(evidence).empty
    assert list(study.evidence().columns) == EVIDENCE


def test_what_a_notebook_shows_of_a_study_and_an_evaluation(study: Study) -> None:
    [run] = study.runs
    shown = study._repr_html_()
    assert "Study of the profile &#x27;smoke&#x27;" in shown and "ItalyPowerDemand" in shown
    evaluation = study.evaluate(run, REFERENCE)
    shown = evaluation._repr_html_()
    assert "baseline in eager" in shown and f"{evaluation.correct.mean():.3f} [" in shown
    shown = study.datasets[run.data.name]._repr_html_()
    assert "<b>ItalyPowerDemand</b>" in shown and "1,029" in shown and "Classes: 1, 2" in shown
