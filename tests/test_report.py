"""Notebooks run headless, the answer in words, and the site."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import nbformat
import pandas as pd
import pytest
from PIL import Image

from tsc_lib.analysis.summary import summarise
from tsc_lib.core.errors import UserError
from tsc_lib.energy import SourceMismatchError
from tsc_lib.report import assets, publish, readme, site, study_page
from tsc_lib.report import build as report
from tsc_lib.report.explore import LIBRARY
from tsc_lib.report.pages import describe_picture
from tsc_lib.report.run_page import describe_run
from tsc_lib.study import Study

PARAMETERS = 'profile: str = "smoke"  # which profile'


def write_notebook(path, *cells):
    """A notebook with a title, a parameters cell and the given code cells."""
    parameters = nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
    prose = nbformat.v4.new_markdown_cell(f"# {path.stem} title\n\nSome maths: $x^2$.")
    notebook = nbformat.v4.new_notebook(cells=[prose, parameters, *map(nbformat.v4.new_code_cell, cells)])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)
    return path


def row(ratio=1.0, **values):
    """One row of a results table: the reference, which costs 2 mJ, unless told otherwise."""
    usual = {"dataset": "A", "model": "T1", "recipe": "baseline", "runtime": "eager", "seed": 0, "batch_size": 64}
    usual |= {"accuracy": 0.9, "classes_predicted": 2, "accuracy_drop": 0.0, "aa_ratio": 1.01, "status": "ok"}
    usual |= {"cpu_ratio": ratio, "cpu_ratio_low": ratio - 0.02, "cpu_ratio_high": ratio + 0.02}
    usual |= {"energy_ratio": ratio, "energy_ratio_low": ratio - 0.02, "energy_ratio_high": ratio + 0.02}
    usual |= {"energy_mj_per_sample": 2 * ratio, "energy_source": "estimated"}
    usual |= {
        "energy_low_mj_per_sample": ratio,
        "energy_high_mj_per_sample": 4 * ratio,
        "energy_net_mj_per_sample": None,
    }
    usual |= {"accuracy_drop_low": float("nan"), "accuracy_drop_high": float("nan"), "params": 1000}
    usual |= {"aa_ratio_low": 0.99, "aa_ratio_high": 1.02, "cpu_ms_per_sample": ratio, "f1_macro": 0.9}
    usual |= {"energy_modelled_mj_per_sample": 0.1, "model_bytes": 4000, "macs": 1000, "int8_ops": 0, "fp32_ops": 9}
    return usual | values


RESULTS = pd.DataFrame(
    [
        row(),
        row(batch_size=1, ratio=1.0, aa_ratio=1.5),
        row(recipe="prune(l1, 0.5)", ratio=0.3, accuracy_drop=9.0),
        row(recipe="prune(l1, 0.5) > finetune(4)", ratio=0.4, accuracy_drop=0.4),
        row(recipe="mask(l1, 0.5)", ratio=1.0, accuracy_drop=0.2),
        row(recipe="int8(dynamic)", ratio=1.25),
        row(recipe="int8(static)", runtime="inductor", status="failed: no compiler", ratio=float("nan")),
    ]
)


def test_summary_names_the_cheapest_strategy_that_keeps_accuracy():
    text = summarise(RESULTS).replace("\u00a0", " ")
    assert "**2 mJ** (T1 on A)" in text and "from 1 mJ to 4 mJ" in text and "*estimated*" in text
    assert (
        "**60 %** of it can be saved with T1 on A, by Remove L1 50 %, tuned (`prune(l1, 0.5) > finetune(4)` in eager)"
        in text
    )
    assert "| A | T1 | 1 | 90.0 | 2 | Remove L1 50 %, tuned | 60.0 [58.0, 62.0] | 0.4 |" in text
    assert "dynamic int8 25 % more" in text and "masks no change" in text
    assert "at most 1.0 %" in text, "the A/A control of the large batch only"
    assert "1 of 7 rows" in text


def test_summary_averages_over_seeds():
    two = pd.concat([RESULTS, RESULTS.assign(seed=1, accuracy_drop=RESULTS.accuracy_drop * 4)])
    assert "No strategy surely saved energy" not in summarise(two)
    three_points_lost = two[two.recipe.isin(["baseline", "prune(l1, 0.5)"])]
    assert "No strategy surely saved energy while losing at most 1 point" in summarise(three_points_lost)


def test_summary_names_a_model_that_collapsed_and_leaves_it_out():
    collapsed = pd.DataFrame(
        [
            row(model="T2", seed=1, accuracy=0.25, classes_predicted=1),
            row(model="T2", seed=1, recipe="prune(l1, 0.5)", ratio=0.1, accuracy=0.25, classes_predicted=1),
        ]
    )
    text = summarise(pd.concat([RESULTS, collapsed]))
    assert "T2 on A (seed 1) gives every test series the same class" in text and "90\u00a0%" not in text
    assert "No model learned" in summarise(collapsed)


def test_summary_without_results():
    assert "no results yet" in summarise(pd.DataFrame())
    assert "1 of 1 rows" in summarise(pd.DataFrame([row(status="failed: killed")]))


def test_summary_counts_the_verdicts():
    claims = pd.DataFrame({"claim": ["a", "b", "c"], "verdict": ["reproduced", "not reproduced", "reproduced"]})
    assert "3 claims" in summarise(RESULTS, claims) and "reproduced: 2, not reproduced: 1" in summarise(RESULTS, claims)


def test_summary_refuses_two_energy_sources():
    mixed = RESULTS.assign(energy_source=["measured"] + ["estimated"] * (len(RESULTS) - 1))
    with pytest.raises(SourceMismatchError):
        summarise(mixed)


def test_notebook_runs_with_its_parameters(tmp_path):
    notebook = write_notebook(tmp_path / "01_x.ipynb", "import os\nprint(profile, os.path.basename(os.getcwd()))")
    output = tmp_path / "else {where} {}" / "01_x.ipynb"
    report.run_notebook(notebook, output, {"profile": "quick"})
    executed = nbformat.read(output, 4)
    assert executed.cells[-1].outputs[0].text == f"quick {tmp_path.name}\n"
    assert str(tmp_path) not in output.read_text(), "an executed notebook says nothing of the machine it ran on"
    assert [path.name for path in output.parent.iterdir()] == ["01_x.ipynb"]


def test_unknown_notebook_and_parameter(tmp_path):
    notebook = write_notebook(tmp_path / "01_x.ipynb")
    with pytest.raises(UserError, match="no notebook '02_y'; there are: 01_x"):
        report.run_notebook(tmp_path / "02_y.ipynb", tmp_path / "out.ipynb", {})
    with pytest.raises(UserError, match="no parameter 'seed'; it has: profile"):
        report.run_notebook(notebook, tmp_path / "out.ipynb", {"seed": 1})


@pytest.mark.notebooks
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("from tsc_lib.core.errors import UserError\nraise UserError('X_TRAIN.ts is empty')", "^X_TRAIN.ts is empty$"),
        ("1 / 0", r"01_x.ipynb stopped in cell \[2\] with ZeroDivisionError: division by zero; .*01_x.failed.ipynb"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "kernel of 01_x.ipynb died"),
    ],
    ids=["user error", "bug", "killed kernel"],
)
def test_notebook_that_stops_leaves_no_result(tmp_path, code, message):
    notebook = write_notebook(tmp_path / "01_x.ipynb", code, "print('never')")
    output = tmp_path / "out" / "01_x.ipynb"
    with pytest.raises(UserError, match=message):
        report.run_notebook(notebook, output, {})
    assert [path.name for path in output.parent.iterdir()] == ["01_x.failed.ipynb"]


def test_external_assets_are_found(tmp_path):
    (tmp_path / "page.html").write_text(
        '<a href="https://fine.org">a link</a><link rel="canonical" href="https://fine.org">'
        '<script src="https://bad.org/1.js"></script><img src="//bad.org/2.png"><img src="local.png">'
        '<link rel="stylesheet" href="https://bad.org/3.css"><p style="background: url(https://bad.org/4.png)">'
        '<style>@import "https://bad.org/5.css";</style><script>import("https://bad.org/6.js")</script>'
    )
    (tmp_path / "style.css").write_text("a { background: url('https://bad.org/7.png') } /* https://fine.org */")
    (tmp_path / "code.js").write_text('x.src = "https://bad.org/8.js"; link.href = "https://fine.org"')
    addresses = " ".join(assets.external_assets(tmp_path))
    assert "fine.org" not in addresses
    assert [n for n in range(1, 9) if f"bad.org/{n}" not in addresses] == []


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A whole site of the published study and of two notebooks, built by the command that the batch engine calls."""
    outputs = tmp_path_factory.mktemp("outputs")
    sources = tmp_path_factory.mktemp("notebooks")
    for name in ("01_first", "02_second"):
        table = "from IPython.display import Markdown\nMarkdown('| a | b |\\n| --- | --- |\\n| made | here |')"
        wide = "import pandas as pd\npd.DataFrame([range(30)], columns=[f'cpu_ms_{n}' for n in range(30)])"
        write_notebook(sources / f"{name}.ipynb", "import os\nimport sys", "print('seen in', profile)", table, wide)
    (outputs / "tables" / "quick").mkdir(parents=True)
    RESULTS.to_csv(outputs / "tables" / "quick" / "results.csv", index=False)
    claim = {"claim": "a saying", "source": "abstract", "runtime": "", "published": 29.1, "unit": "%", "ours": 30.0}
    claim |= {"ours_low": 29.0, "ours_high": 31.0, "verdict": "reproduced", "why": "it was measured"}
    pd.DataFrame([claim]).to_csv(outputs / "tables" / "quick" / "claims.csv", index=False)
    for name in ("quick", "another"):
        (outputs / "report" / name).mkdir(parents=True)
        (outputs / "report" / name / "index.html").write_text("of an earlier report")
    (outputs / "report" / "quick" / "old.html").write_text("of an earlier report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "OUTPUTS", outputs)
        patch.setattr(report, "NOTEBOOKS", sources)
        patch.setattr(site, "OPTIONS", [*site.OPTIONS, "-W", "--keep-going"])
        assert report.main(["notebook", "01_first", "--profile", "quick"]) == 0
        assert report.main(["notebook", "02_second", "--profile", "quick"]) == 0
        assert report.main(["notebook", "03_third", "--profile", "quick"]) == 1
        assert report.main(["site", "--profile", "quick"]) == 0
        assert report.main(["site", "--profile", "smoke"]) == 1, "no notebook of that profile was executed"
    assert [path.name for path in outputs.rglob(".*") if not path.is_relative_to(outputs / "report" / "quick")] == []
    return outputs / "report" / "quick"


@pytest.mark.notebooks
def test_site_answers_for_the_published_study_first_and_lists_the_notebooks_in_order(pages):
    index = (pages / "index.html").read_text()
    assert (
        0
        < index.index("QUANT, a classic classifier")
        < index.index("This is a demonstration")
        < index.index("60\u00a0%")
    )
    assert 0 < index.index("01 · The data") < index.index("01_first title") < index.index("02_second title")
    assert "seen in quick" in (pages / "notebooks" / "02_second.html").read_text()
    assert "a saying" in (pages / "claims.html").read_text()
    assert "no compiler" in (pages / "results.html").read_text()
    assert not (pages / "old.html").exists()


@pytest.mark.notebooks
def test_a_report_stands_beside_those_of_other_profiles_and_one_page_lists_them(pages, page):
    assert (pages.parent / "another" / "index.html").read_text() == "of an earlier report"
    page.goto(f"file://{pages.parent}/index.html")
    assert page.locator("td a").all_inner_texts() == ["quick", "another"], "the newest first"
    page.click("text=quick")
    assert page.url == f"file://{pages}/index.html"
    assert assets.external_assets(pages.parent, LIBRARY) == []


@pytest.mark.notebooks
def test_every_page_of_the_documentation_is_there_beside_the_search(pages):
    for page in (Path(__file__).resolve().parents[1] / "docs").rglob("*.md"):
        title = page.read_text().splitlines()[0].removeprefix("# ").replace("'", "\u2019")
        built = (pages / page.relative_to(site.SOURCES)).with_suffix(".html")
        assert title in built.read_text(), page.name  # some names are Sphinx's own
    assert "searchtools" in (pages / "search.html").read_text()


@pytest.mark.notebooks
def test_tables_are_tables_plumbing_is_folded_and_columns_have_names(pages):
    text = (pages / "notebooks" / "01_first.html").read_text()
    assert "<td><p>made</p></td>" in text and "<th>CPU ms 29</th>" in text
    assert text.count("tag_hide-input") == 3, "parameters, injected ones and imports"
    assert "<strong>reproduced</strong>" in (pages / "claims.html").read_text()


WIDE = "element => element.scrollWidth > element.clientWidth + 1"
CLIPPED = f"""() => [...document.querySelectorAll('.bd-article *:not(svg *)')].filter({WIDE})
    .filter(e => !e.closest('.bk-Column, pre, .math'))
    .filter(e => !['auto', 'scroll'].includes(getComputedStyle(e).overflowX))
    .map(e => e.outerHTML.slice(0, 120))"""
RAW_TABLE = re.compile(r"^\s*\|.*\|\s*$|\|\s*:?-{3}", re.MULTILINE)


@pytest.mark.notebooks
@pytest.mark.parametrize("width", [1366, 390])
def test_every_page_shows_without_error_network_overflow_or_dead_link(pages, browser, width):
    context = browser.new_context(viewport={"width": width, "height": 900})
    page, found, asked = context.new_page(), [], []
    page.on("console", lambda message: found.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    for path in sorted(pages.rglob("*.html")):
        if path.parent.name == "_static" or (path.parent.name == "api" and path.stem.count(".") != 1):
            continue  # one page for every room stands for those of its modules, which are made alike
        name = str(path.relative_to(pages))
        page.goto(f"file://{path}", wait_until="load")
        assert found == [], name
        assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == [], name
        assert not page.evaluate(f"({WIDE})(document.documentElement)"), name
        assert page.evaluate(CLIPPED) == [], name
        assert page.locator(".bd-article img:not([alt])").count() == 0, name
        raw = page.evaluate("[...document.querySelectorAll('.bd-article p, .bd-article td')].map(e => e.innerText)")
        assert [text for text in raw if RAW_TABLE.search(text)] == [], name
        for link in page.evaluate("[...document.querySelectorAll('a[href]')].map(e => e.href)"):
            target, _, place = link.partition("#")
            assert not target.startswith("file:") or Path(unquote(target[7:])).exists(), (name, link)
            if place and target == f"file://{path}":
                assert page.locator(f'[id="{unquote(place)}"]').count(), (name, link)
        assert path.stat().st_size < 3_000_000, name
    context.close()


@pytest.mark.notebooks
def test_verdicts_are_read_without_scrolling_sideways(pages, page):
    page.goto(f"file://{pages}/claims.html")
    assert page.locator(".bd-article table").count() == 2
    assert not page.evaluate(f"[...document.querySelectorAll('.bd-article *:not(svg *)')].some({WIDE})")


@pytest.mark.notebooks
def test_the_results_can_be_narrowed_and_sorted(pages, page):
    page.goto(f"file://{pages}/explore.html")
    first = page.locator(".slick-row .slick-cell.l0")
    first.first.wait_for()
    assert set(first.all_inner_texts()) == {"RefrigerationDevices"}
    page.locator(".choices__button").first.click()  # no longer that data set alone
    titles = page.locator(".slick-header-column")
    titles.filter(has_text="data set").click()
    page.locator(".slick-row .slick-cell.l0", has_text="ElectricDevices").first.wait_for()
    for _ in range(2):  # the largest first
        titles.filter(has_text="times less").click()
    page.locator(".slick-row .slick-cell.l9", has_text="121.0").first.wait_for()
    assert page.locator(".bk-Figure").is_visible()


@pytest.mark.notebooks
def test_every_module_has_a_page(pages):
    assert "Compress a model." in (pages / "api" / "tsc_lib.compress.recipe.html").read_text()
    assert (pages / "api" / "tsc_lib.runtimes.openvino.convert.html").is_file()


@pytest.mark.notebooks
def test_site_needs_no_network(pages):
    assert assets.external_assets(pages, LIBRARY) == []
    assert (pages / "_static" / "tex-svg.js").is_file() and (pages / "searchindex.js").is_file()
    assert "_static/tex-svg.js" in (pages / "notebooks" / "01_first.html").read_text()


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


def test_a_run_says_what_its_numbers_are_worth_and_what_it_leaves_untested():
    claims = pd.DataFrame(
        {"claim": ["a", "b"], "verdict": ["not run by this profile", "cannot be tested on this machine"]}
    )
    said = describe_run("smoke", RESULTS, claims)
    assert "mean nothing" in said and "does not run: “a”." in said and "cannot test: “b”." in said
    assert "demonstration" in describe_run("quick", RESULTS, claims)
    assert "not the study's data sets" in describe_run("own", RESULTS, pd.DataFrame())
    assert ":::" not in describe_run("paper", RESULTS.assign(dataset="PLAID"), pd.DataFrame())


def test_a_picture_is_described_by_what_draws_it_or_by_its_heading():
    assert describe_picture("study.show(figures.pareto(results), '05', t)", "x").startswith("Accuracy against CPU time")
    assert describe_picture("plot(x)", "A heading") == "A heading"


def test_a_site_needs_something_to_show(tmp_path):
    with pytest.raises(UserError, match="comes with a checkout"):
        site.build_site(tmp_path / "site", None, readme.Published(tmp_path))
