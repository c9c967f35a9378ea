"""Profiles: read from YAML, complete, and refused in one sentence when they are wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from synthetic import waves, write_data

from tsc_lib.benchmark import BenchmarkSettings
from tsc_lib.core.errors import UserError
from tsc_lib.data import DataSpec
from tsc_lib.study import Study
from tsc_lib.study.profiles import PROFILES, load_profile
from tsc_lib.training import TrainSpec

GOOD = {
    "datasets": ["ItalyPowerDemand"],
    "models": ["T1"],
    "seeds": [0],
    "variants": {"baseline": ["eager"]},
}


def write(folder: Path, content: object) -> str:
    path = folder / "mine.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return str(path)


@pytest.mark.parametrize("name", sorted(p.stem for p in PROFILES.glob("*.yaml")))
def test_every_profile_is_valid(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "archive":  # which looks for its data sets
        monkeypatch.setenv("AEON_DATA", str(tmp_path))
        both = [w for y in "ab" for w in waves(3, y)]
        write_data(tmp_path / "PowerCons", both, both[:4])
    profile = load_profile(name)
    Study(profile)
    assert "baseline" in profile.variants


def test_specifications_survive_json() -> None:
    for spec in (TrainSpec(epochs=3), BenchmarkSettings(batch_sizes=(1, 8)), DataSpec("A", "0" * 64)):
        assert type(spec).from_json(spec.to_json()) == spec
        assert type(spec).from_json(spec.to_json()).key() == spec.key()


def test_a_data_set_may_have_its_own_settings(tmp_path: Path) -> None:
    choice = {"name": "ItalyPowerDemand", "train": {"epochs": 3}, "benchmark": {"batch_sizes": [1, 8]}}
    profile = load_profile(write(tmp_path, {**GOOD, "datasets": [choice], "benchmark": {"blocks": 7}}))
    assert profile.train_of(profile.datasets[0], "T1") == TrainSpec(epochs=3)
    assert profile.benchmark_of(profile.datasets[0]) == BenchmarkSettings(batch_sizes=(1, 8), blocks=7)


def test_a_model_may_have_its_own_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = TrainSpec(steps=500, optimizer="adamw")
    monkeypatch.setattr("tsc_lib.training.defaults.OWN", {"T2": own})
    choice = {"name": "ItalyPowerDemand", "train": {"batch_size": 8, "models": {"T1": {"mixing": 0.2}}}}
    train = {
        "learning_rate": 0.002,
        "models": {"T2": {"augment": "noise", "batch_size": 16}, "T2(layers=2)": {"clip": 1}},
    }
    models = ["T1", "T2", "T2(layers=2)"]
    profile = load_profile(write(tmp_path, {**GOOD, "models": models, "datasets": [choice], "train": train}))
    assert [profile.train_of(profile.datasets[0], model) for model in models] == [
        TrainSpec(batch_size=8, learning_rate=0.002, mixing=0.2),
        replace(own, batch_size=16, learning_rate=0.002, augment="noise"),
        replace(own, batch_size=16, learning_rate=0.002, augment="noise", clip=1.0),
    ]
    assert own.change({"epochs": 3}) == TrainSpec(epochs=3, optimizer="adamw")


def test_folders_are_found_beside_the_profile(tmp_path: Path) -> None:
    profile = load_profile(write(tmp_path, {**GOOD, "datasets": ["./data/Mine", "ItalyPowerDemand"]}))
    assert [choice.name for choice in profile.datasets] == [str(tmp_path / "data" / "Mine"), "ItalyPowerDemand"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"modells": ["T1"]}, "unknown key 'modells'"),
        ({"models": []}, "has no models"),
        ({"models": "T1"}, "'models' must be a list, not 'T1'"),
        ({"models": ["T9"]}, "unknown model 'T9'"),
        ({"train": {"epoch": 3}}, "train: unknown key 'epoch'"),
        (
            {"train": {"learning_rate": "1e-3"}},
            "train: 'learning_rate' must be a valid number, not '1e-3' (write 0.001, not 1e-3)",
        ),
        (
            {"train": {"epochs": 0}},
            "mine.yaml: train: training setting 'epochs' must be a whole number from 1 to 100,000, not 0",
        ),
        ({"variants": {"shrink": ["eager"]}}, "unknown method 'shrink'"),
        ({"variants": {"baseline": ["tpu"]}}, "unknown runtime 'tpu'"),
        ({"variants": {"int8(static)": ["eager"]}}, "eager does not execute int8 static"),
        ({"benchmark": {"blocks": 1}}, "'blocks' must be a whole number from 3 to 10,000, not 1"),
        ({"datasets": [{"name": "ItalyPowerDemand", "benchmark": {"block": 5}}]}, "unknown key 'block'"),
        ({"exclude": [{}]}, "names at least one of dataset, model, recipe and runtime"),
        ({"exclude": [{"seed": 1}]}, "exclude, entry 1: unknown key 'seed'"),
        ({"train": {"epochs": "20"}}, "mine.yaml: train: 'epochs' must be a valid integer, not '20'"),
        ({"train": {"epochs": 2.5}}, "train: 'epochs' must be a valid integer"),
        ({"train": {"augment": "blur"}}, "train: augment 'blur': unknown method 'blur'"),
        ({"train": {"models": ["T1"]}}, "train: 'models' must be a mapping of models to settings, not ['T1']"),
        ({"train": {"models": {"T2": {"epochs": 3}}}}, "train: the profile has no model 'T2'; name one that it has"),
        ({"train": {"models": {"T1": {"optimizer": "sgd"}}}}, "train: training setting 'optimizer' is adam or"),
        ({"train": [3]}, "'train' must be a mapping, not [3]"),
        ({"models": ["T1", "T1(layers=8)"]}, "'models' has 'T1(layers=8, "),
        ({"seeds": ["0"]}, "seeds: entry 1 must be a valid integer, not '0'"),
        ({"variants": {"baseline": "eager"}}, "variants: 'baseline' must be a list, not 'eager'"),
        ({"datasets": [{"scaling": "none"}]}, "datasets, entry 1: 'name' is missing"),
        (
            {"datasets": [{"name": "ACSF1", "train": {"epochs": "3"}}]},
            "train of ACSF1: 'epochs' must be",
        ),
        ({"name": "other"}, "must hold a mapping"),
        ({"exclude": [{"model": "T9"}]}, "exclude: the profile has no model 'T9'"),
    ],
)
def test_wrong_profiles_are_one_sentence(tmp_path: Path, change: dict, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        Study(load_profile(write(tmp_path, {**GOOD, **change})))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_and_unreadable_profiles_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no profile 'papper'; the profiles are archive, classics, paper, quick"):
        load_profile("papper")
    with pytest.raises(UserError, match=r'not valid YAML .*in ".*mine.yaml", line 1, column 11'):
        load_profile(write(tmp_path, "datasets: [a"))
    with pytest.raises(UserError, match=r"the key 'epochs' stands twice in .*mine.yaml\", line 2, column 20"):
        load_profile(write(tmp_path, "models: [T1]\ntrain: {epochs: 1, epochs: 2}"))
    with pytest.raises(UserError, match="must hold a mapping"):
        load_profile(write(tmp_path, "- a"))
