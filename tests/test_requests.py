"""Whatever is asked for in a profile, a recipe, the notebooks' parameters or from Python: done, or one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from test_runtimes import without_the_study

from tsc_lib import TransformerClassifier, cli, compare
from tsc_lib.compress import STEPS, Recipe
from tsc_lib.core import store
from tsc_lib.core.errors import UserError
from tsc_lib.notebook import open_study
from tsc_lib.study import Study, stages
from tsc_lib.study.profiles import PROFILES, load_profile

GOOD = """\
datasets: [ItalyPowerDemand]
models: [T1]
seeds: [0]
variants: {baseline: [eager]}
"""

# Trainings of other tests switch subnormal numbers off in this process.
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=10**400, max_value=10**401),
    st.floats(allow_subnormal=False),
    st.dates(),
    st.text(max_size=5),
    st.binary(max_size=3),
    st.sampled_from(["1e-3", "١", "1_0", "prune(l1, 0.5)", "eager", "T1", "ACSF1", "~nosuchuser", "a\0b", "../x"]),
)
ODDER = st.recursive(
    ODD,
    lambda some: st.lists(some, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(), some, max_size=2),
)
"""Values that nobody expects, in lists and mappings too."""

quickly = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def one_sentence(error: UserError) -> bool:
    """Whether an error is short, and of one line."""
    return len(str(error)) < 800 and len(str(error).splitlines()) == 1


@st.composite
def profiles(draw: st.DrawFn) -> object:
    """A shipped profile in which one value, somewhere, is another."""
    content = yaml.safe_load((PROFILES / f"{draw(st.sampled_from(['smoke', 'quick']))}.yaml").read_text())
    place: Any = content
    while True:
        key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not (isinstance(place[key], dict | list) and place[key]) or draw(st.integers(0, 3)) == 0:
            break
        place = place[key]
    place[key] = draw(ODDER)
    return content


@quickly
@given(content=profiles())
def test_a_mutated_profile_is_a_study_or_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, content: object
) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated.yaml"
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    try:
        Study(load_profile(str(path)))
    except UserError as error:
        assert one_sentence(error)


@quickly
@given(raw=st.binary(max_size=40), at=st.integers(0, len(GOOD)))
def test_a_damaged_file_is_a_profile_or_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes, at: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.yaml"
    path.write_bytes(GOOD.encode()[:at] + raw + GOOD.encode()[at:])
    try:
        load_profile(str(path))
    except UserError as error:
        assert one_sentence(error)


@quickly
@given(
    step=st.sampled_from(sorted(STEPS)),
    values=st.lists(
        st.one_of(
            st.integers().map(str), st.floats(allow_subnormal=False).map(str), st.text("l1, =().0_>e", max_size=6)
        )
    ),
)
def test_a_mutated_recipe_is_a_recipe_or_one_sentence(step: str, values: list[str]) -> None:
    try:
        recipe = Recipe.parse(f"{step}({', '.join(values)})")
    except UserError as error:
        assert one_sentence(error)
    else:
        assert Recipe.parse(str(recipe)) == recipe and recipe.label


@quickly
@given(name=st.sampled_from(["profile", "datasets", "models", "seeds"]), value=ODDER)
def test_a_notebook_s_parameter_is_taken_or_refused_in_one_sentence(name: str, value: object) -> None:
    try:
        open_study(**{"profile": "smoke", name: value})
    except UserError as error:
        assert one_sentence(error)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "must hold a mapping"),
        (GOOD.replace("T1", "é").encode("latin-1"), "is not UTF-8 text; save it as UTF-8"),
        (GOOD.encode("utf-16"), "is not UTF-8 text"),
        ("datasets: " + "[" * 3000 + "]" * 3000, "nests too deeply"),
        ("train: " + "{a: " * 50 + "}" * 50, "nests too deeply"),
        ("datasets: &a [*a]", "nests too deeply"),
        (
            "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
            + "".join(f"{b}: &{b} [{', '.join(10 * ['*' + a])}]\n" for a, b in ("ab", "bc", "cd", "de", "ef", "fg")),
            "holds more than 10,000 values",
        ),
        ("a: &a {b: 1}\ntrain: {<<: *a}", "a profile merges no mappings"),
        ("#" * 2_000_000, "is no profile: it has more than 1,000,000 bytes"),
        (GOOD + "train: {epochs: 2020-13-45}", "is not valid YAML: a value in it cannot be read"),
        (GOOD + "train: {epochs: 0x" + "f" * 6000 + "}", "a number is too long"),
        (GOOD + "1: 2", "every key must be text, not 1"),
        (GOOD + "train: !!set {a}", "is no profile: it holds {'a'}"),
        (GOOD + "benchmark: {max_seconds: .nan}", "'max_seconds' must be a finite number from 0 to 86,400, not nan"),
        (GOOD + "train: {learning_rate: .inf}", "'learning_rate' must be a finite number from 1e-15 to 10, not inf"),
        (GOOD + "benchmark: {batch_sizes: [1, 1]}", "'batch_sizes' has 1 twice; leave one out"),
        (GOOD + "benchmark: {threads: 9999}", "'threads' must be a whole number from 1 to 1,024, not 9999"),
        (GOOD + "runtimes: {threads: [1, 1]}", "runtimes setting 'threads' has 1 twice"),
        (GOOD + "runtimes: {models: [T2]}", "runtimes: the profile has no model 'T2'"),
        (GOOD + "runtimes: {variants: [baseline]}", "runtimes: 'variants' must be a mapping, not ['baseline']"),
        (GOOD + "ablation: {recipe: prey}", "unknown method 'prey'"),
        (GOOD + "exclude: [{model: T1}]", "'exclude' leaves no model to train on any data set"),
        (GOOD + "exclude: [{runtime: eager}, {runtime: eager}]", "exclude has {'runtime': 'eager'} twice"),
        (GOOD.replace("[0]", "[0, 0]"), "'seeds' has 0 twice"),
        (GOOD.replace("[0]", "[2020-01-01]"), "seeds: entry 1 must be a valid integer, not '2020-01-01'"),
        (GOOD.replace("[0]", "[-1]"), "every entry of 'seeds' must be a whole number from 0 to 4,294,967,295, not -1"),
        (GOOD.replace("T1", "T1, T1"), "'models' has 'T1' twice"),
        (GOOD.replace("T1", "T9"), "odd.yaml: unknown model 'T9'"),
        (GOOD.replace("[eager]", "[eager, eager]"), "'variants' has 'baseline in eager' twice"),
        (
            GOOD.replace("baseline: [eager]", '"prune(l1,0.5)": [eager], "prune(l1, 0.50)": [eager]'),
            "'variants' has 'prune(l1, 0.5) in eager' twice",
        ),
    ],
)
def test_what_no_profile_holds_is_refused_with_the_file_and_the_key(
    tmp_path: Path, content: str | bytes, said: str
) -> None:
    path = tmp_path / "odd.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as caught:
        load_profile(str(path))
    assert said in str(caught.value) and str(path) in str(caught.value) and one_sentence(caught.value)


def test_what_is_no_file_is_no_profile(tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    os.mkfifo(tmp_path / "pipe.yaml")
    for name in ("folder.yaml", "pipe.yaml", "a" * 5000 + ".yaml", "a\0.yaml"):
        with pytest.raises(UserError, match="there is no profile"):
            load_profile(str(tmp_path / name))
    with pytest.raises(UserError, match="a profile is named by text, not by 3"):
        load_profile(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("run --dataset X --epochs 1_0", "argument --epochs: '1_0' is not a whole number"),
        ("run --dataset X --epochs 1 --epochs 2", "argument --epochs: is given twice"),
        ("run", "the following arguments are required: --dataset"),
        ("optimize --dataset X --budget nan", "argument --budget: 'nan' is not a number"),
        ("report --cores 1.5", "argument --cores: '1.5' is not a whole number"),
    ],
)
def test_what_cannot_be_read_on_the_command_line_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: str, said: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments.split())
    [line] = capsys.readouterr().err.splitlines()
    assert stopped.value.code == 2 and said in line and "--help' tells what it takes" in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("run --dataset ItalyPowerDemand --batch-sizes 1 1", "'batch_sizes' has 1 twice"),
        ("run --dataset ItalyPowerDemand --threads 9999", "'threads' must be a whole number from 1 to 1,024"),
        ("run --dataset ItalyPowerDemand --threads 1000", "lower 'threads' to"),
        ("run --dataset ItalyPowerDemand --train clip=a", "training setting 'clip': 'a' is not a number"),
        ("run --dataset ItalyPowerDemand --train refit=yes", "'refit': 'yes' is neither true nor false"),
        ("run --dataset ItalyPowerDemand --train momentum=1", "training setting 'momentum=1' is none, or given twice"),
        ("run --dataset ItalyPowerDemand --epochs 99999999999999999999999", "'epochs' must be a whole number from 1"),
        ("run --dataset ItalyPowerDemand --seed -1", "every entry of 'seeds' must be a whole number from 0"),
        ("optimize --dataset ItalyPowerDemand --seeds 0 0", "search setting 'seeds' has 0 twice"),
        ("predict nowhere x.csv --threads 9999", "the number of threads must be a whole number from 1 to 1,024"),
        ("report --cores 9999", "--cores must be a whole number from 1 to 1,024"),
    ],
)
def test_what_is_beyond_limits_on_the_command_line_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: str, said: str
) -> None:
    assert cli.main(arguments.split()) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert said in line


def test_results_without_a_row_that_worked_are_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise store.StageFailed("RuntimeError: the loss is not finite")

    monkeypatch.setattr(store, "OUTPUTS", tmp_path)
    for stage in ("evaluate", "measure"):
        monkeypatch.setattr(stages, stage, fail)
    (tmp_path / "one.yaml").write_text(GOOD)
    assert cli.main(["results", "--profile", str(tmp_path / "one.yaml"), "--csv", str(tmp_path / "table.csv")]) == 1
    said = capsys.readouterr().err
    assert "none of the 2 rows could be computed; the first one failed: RuntimeError: the loss is not finite" in said
    assert (tmp_path / "table.csv").read_text().count("failed: ") == 2


X, Y = np.random.default_rng(0).standard_normal((20, 1, 12)), np.array(["a", "b"] * 10)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"epochs": "2"}, "'epochs' must be a whole number from 1 to 100,000, not '2'"),
        ({"batch_size": 0}, "'batch_size' must be a whole number from 1 to 65,536, not 0"),
        ({"learning_rate": float("nan")}, "'learning_rate' must be a finite number"),
        ({"valid_fraction": "a"}, "valid_fraction must be a finite number from 0 to 1, not 'a'"),
        ({"model": 3}, "unknown model 3"),
        ({"random_state": -1}, "random_state must be a whole number from 0"),
        ({"training": ["adamw"]}, "training must be a dict of training settings, not ['adamw']"),
        ({"training": {"optimiser": "adamw"}}, "unknown training setting 'optimiser'; the settings are epochs, "),
        ({"training": {"mixing": "a"}}, "training setting 'mixing' must be a finite number from 0 to 100, not 'a'"),
        ({"n_jobs": 9999}, "n_jobs must be a whole number from 1 to 1,024"),
    ],
)
def test_an_estimator_s_parameter_is_refused_in_one_sentence(parameters: dict[str, object], said: str) -> None:
    with pytest.raises(UserError) as caught:
        TransformerClassifier(**parameters).fit(X, Y)
    assert said in str(caught.value)


def test_recipes_labels_and_classifiers_of_other_kinds_are_refused_in_one_sentence() -> None:
    fitted = TransformerClassifier(epochs=1, random_state=0).fit(X, Y)
    for request, said in (
        (lambda: fitted.compress(3), "a recipe is text such as .*, not 3"),
        (lambda: fitted.compress("patch(100000)"), "longer than every training series; use one of at most 12"),
        (lambda: fitted.compress("prune(l1, 0.5)", X), "a label for each"),
        (lambda: fitted.compress("prune(l1, 0.5)", X, ["q"] * 20), "a label for each"),
        (lambda: compare(fitted, X, Y), "give a list of one fitted classifier or more"),
        (lambda: compare([3], X, Y), "what is compared is a TransformerClassifier, not 3"),
        (lambda: compare([fitted], X, None), "X holds 20 series and y 1 labels"),
        (lambda: compare([fitted], X, Y, {"blocks": 3}), "settings must be BenchmarkSettings"),
    ):
        with pytest.raises(UserError, match=said):
            request()


def test_labels_write_shares_in_per_cent_and_other_numbers_as_they_are() -> None:
    labels = {
        "prune(l1, 0.5)": "Remove L1 50 %",
        "prune(l1, 0.125)": "Remove L1 12.5 %",
        "exits(3, 1.0)": "Exit after 3 (1.0 points)",
        "distill(4, 2.5, weight=0.5)": "Distilled",
    }
    assert {recipe: Recipe.parse(recipe).label for recipe in labels} == labels


def test_what_needs_more_than_predictions_names_the_extra() -> None:
    done = without_the_study("import tsc_lib", "tsc_lib.TransformerClassifier")
    last = done.stderr.strip().splitlines()[-1]
    assert "tsc_lib.TransformerClassifier needs" in last and "pip install 'tsc_lib[study]'" in last


def test_a_cell_shows_the_sentence_alone() -> None:
    cell = "from tsc_lib.notebook import open_study; open_study(seeds=[0.5])"
    command = [sys.executable, "-m", "IPython", "--colors=NoColor", "--no-banner", "-c", cell]
    shown = subprocess.run(command, capture_output=True, text=True).stdout.strip().splitlines()
    assert shown == ["error: every entry of parameter 'seeds' must be a whole number, not 0.5"]
