"""Outputs that are shown have names of what was asked for, and replace no others."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from tsc_lib import notebook
from tsc_lib.notebook import NotebookStudy, open_study
from tsc_lib.report.build import write_index
from tsc_lib.study.profiles import PROFILES, load_profile


@pytest.fixture(autouse=True)
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(notebook, "OUTPUTS", tmp_path / "outputs")
    return tmp_path / "outputs"


def show(study: NotebookStudy, value: int) -> None:
    """Save a figure and a table, as a notebook does."""
    study.show(Figure(), "03_figure", pd.DataFrame({"value": [value]}))
    study.publish(pd.DataFrame({"value": [value]}), "results")


def values(outputs: Path, name: str) -> list[int]:
    """What is saved of a study in its figure's and its table's file."""
    files = outputs / "figures" / name / "03_figure.csv", outputs / "tables" / name / "results.csv"
    return [int(pd.read_csv(file).value[0]) for file in files]


def test_a_narrowed_notebook_leaves_the_figures_and_tables_of_its_profile(outputs: Path) -> None:
    whole = open_study("smoke")
    show(whole, 0)
    others = [
        open_study("smoke", datasets=["GunPoint"]),
        open_study("smoke", models=["T2"]),
        open_study("smoke", seeds=[7]),
        open_study("smoke", seeds=[7, 8]),
    ]
    for value, study in enumerate(others, 1):
        show(study, value)
    assert whole.profile.name == "smoke"
    assert [values(outputs, study.profile.name) for study in [whole, *others]] == [[n, n] for n in range(5)]
    assert sorted(path.name for path in (outputs / "figures" / "smoke").iterdir()) == [
        f"03_figure.{kind}" for kind in ("csv", "png", "svg")
    ]


def test_a_notebook_that_names_all_of_its_profile_is_not_narrowed() -> None:
    profile = load_profile("smoke")
    names = [choice.name for choice in profile.datasets]
    study = open_study("smoke", names, list(profile.models), list(profile.seeds))
    assert study.profile == profile


def test_profiles_of_one_file_name_in_several_folders_have_names_of_their_own(tmp_path: Path) -> None:
    names = [load_profile("smoke").name]
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        shutil.copy(PROFILES / "smoke.yaml", folder)
        names.append(load_profile(str(folder / "smoke.yaml")).name)
    assert names[0] == "smoke" and len(set(names)) == 3
    assert all(name.startswith("smoke-") for name in names[1:])
    (tmp_path / "link").symlink_to(PROFILES)
    for path in (PROFILES / "smoke.yaml", tmp_path / "link" / "smoke.yaml"):
        assert load_profile(str(path)).name == "smoke"


def test_the_list_of_reports_takes_names_as_they_are_and_no_unfinished_report(tmp_path: Path) -> None:
    for name in ("a: <b> 100%", ".site-unfinished"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "index.html").touch()
    (tmp_path / "removed").mkdir()
    listed = write_index(tmp_path).read_text()
    assert '<a href="a%3A%20%3Cb%3E%20100%25/index.html">a: &lt;b&gt; 100%</a>' in listed
    assert "unfinished" not in listed and "removed" not in listed
