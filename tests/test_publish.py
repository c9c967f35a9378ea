"""What is published, and the pages whose numbers are rendered from it."""

from __future__ import annotations

import re
from types import SimpleNamespace

import nbformat
import pytest
from PIL import Image
from reports import write_notebook

from tsc_lib.core.errors import UserError
from tsc_lib.report import publish, readme, study_page
from tsc_lib.study import Study


def finished(outputs, name, notebooks, mark):
    """What a profile's report leaves, as far as it is published."""
    for kind in ("tables", "figures", "notebooks"):
        (outputs / kind / name).mkdir(parents=True, exist_ok=True)
    for table in ("results", "claims"):
        (outputs / "tables" / name / f"{table}.csv").write_text(mark)
    Image.effect_noise((60, 40), 90).save(outputs / "figures" / name / "figure.png")
    for notebook in notebooks.glob("*.ipynb"):
        nbformat.write(nbformat.read(notebook, as_version=4), outputs / "notebooks" / name / notebook.name)


def test_a_profile_is_published_whole_and_others_within_it_stay(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(publish, "OUTPUTS", tmp_path)
    notebooks = tmp_path / "source"
    notebooks.mkdir()
    write_notebook(notebooks / "01_data_loading.ipynb")
    monkeypatch.setattr(publish, "NOTEBOOKS", notebooks)
    facts = {"cpu_model": "a processor", "cpus": 2, "threads": 1, "system": "Linux", "python": "3.11", "date": "today"}
    host = SimpleNamespace(**facts, versions={"torch": "2"})
    monkeypatch.setattr(Study, "host", lambda study: host)
    monkeypatch.setattr(publish, "MAIN", "smoke")
    assert publish.main(["--profile", "quick"]) == 1
    assert "finish the report first" in capsys.readouterr().err
    published = tmp_path / "published"
    for name, mark in (("smoke", "old"), ("quick", "beside"), ("smoke", "new")):
        finished(tmp_path, name, notebooks, mark)
        if mark == "new":
            (published / "figures" / "stale.png").touch()
        assert publish.main(["--profile", name]) == 0
    assert publish.main(["--profile", "paper", "--results-only"]) == 1, "it has no results"
    finished(tmp_path, "seeds", notebooks, "alone")
    assert publish.main(["--profile", "seeds", "--results-only"]) == 0
    assert sorted(path.name for path in (published / "seeds").iterdir()) == ["README.md", "results.csv"]
    assert (published / "results.csv").read_text() == "new"
    assert (published / "quick" / "results.csv").read_text() == "beside"
    assert "a processor" in (published / "quick" / "README.md").read_text()
    for folder in (published, published / "quick"):
        assert [path.name for path in (folder / "figures").iterdir()] == ["figure.png"]
        assert (folder / "notebooks" / "01_data_loading.ipynb").is_file()


@pytest.mark.parametrize("page", readme.PAGES)
def test_pages_say_what_the_published_tables_say(page):
    text = (readme.ROOT / page).read_text()
    assert readme.render(text, readme.Published()) == text, "python -m tsc_lib.report.readme --write"


def test_a_block_of_a_page_needs_a_known_name_and_an_end():
    with pytest.raises(UserError, match="unknown block 'nothing'; the blocks are found"):
        readme.render("<!-- table: nothing -->\n<!-- end -->", readme.Published())
    with pytest.raises(UserError, match="block 'steps' has no <!-- end -->"):
        readme.render("<!-- table: steps -->\n<!-- table: models -->\n<!-- end -->", readme.Published())


def test_the_first_page_says_what_the_tables_say():
    published = readme.Published()
    found = study_page.find_results(published)
    assert study_page.points_ahead(published, "QUANT", "ConvTransformer").min() > 0, "the classic is ahead everywhere"
    ours = published.contenders.query("model == 'ConvTransformer'")
    assert len(ours) == 3 and len(published.contenders) == 9 and published.contenders.notna().all(axis=None)
    least, most = map(int, re.findall(r"needs (\d+) to (\d+) times less than T1", found["the student"])[0])
    assert least == round(1 / ours.energy_ratio.max()) and most == round(1 / ours.energy_ratio.min())
    saved = re.findall(r"(?:another|save) (\S+) %", found["the study's strategies"])
    assert len(saved) == 2 and all(abs(float(text.replace("\u2212", "-"))) < 15 for text in saved), "hardly anything"
    figure, shown = study_page.draw_hero(published)
    assert len(figure.axes) == 3 and not (shown.runtime == "inductor").any()


def test_a_notebook_of_a_profile_with_a_folder_of_its_own_is_the_one_that_is_shown(tmp_path):
    for place in ("notebooks/01_a.ipynb", "notebooks/10_b.ipynb", "archive/notebooks/10_b.ipynb"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    shown = [path.relative_to(tmp_path).as_posix() for path in readme.Published(tmp_path).notebooks]
    assert shown == ["notebooks/01_a.ipynb", "archive/notebooks/10_b.ipynb"]
