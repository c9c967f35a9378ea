"""Notebooks run headless, and the site."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pandas as pd
import pytest
from reports import RESULTS, write_notebook

from tsc_lib.core.errors import UserError
from tsc_lib.report import assets, execute, module_pages, readme, site, sphinx_run
from tsc_lib.report import build as report
from tsc_lib.report.explore import LIBRARY
from tsc_lib.report.pages import describe_picture
from tsc_lib.report.run_page import describe_run


def test_notebook_runs_with_its_parameters(tmp_path):
    notebook = write_notebook(tmp_path / "01_x.ipynb", "import os\nprint(profile, os.path.basename(os.getcwd()))")
    output = tmp_path / "else {where} {}" / "01_x.ipynb"
    execute.run_notebook(notebook, output, {"profile": "quick"})
    executed = nbformat.read(output, 4)
    assert executed.cells[-1].outputs[0].text == f"quick {tmp_path.name}\n"
    assert str(tmp_path) not in output.read_text(), "an executed notebook says nothing of the machine it ran on"
    assert [path.name for path in output.parent.iterdir()] == ["01_x.ipynb"]


def test_unknown_notebook_and_parameter(tmp_path):
    notebook = write_notebook(tmp_path / "01_x.ipynb")
    with pytest.raises(UserError, match="no notebook '02_y'; there are: 01_x"):
        execute.run_notebook(tmp_path / "02_y.ipynb", tmp_path / "out.ipynb", {})
    with pytest.raises(UserError, match="no parameter 'seed'; it has: profile"):
        execute.run_notebook(notebook, tmp_path / "out.ipynb", {"seed": 1})


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
        execute.run_notebook(notebook, output, {})
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
        for module in (report, execute):
            patch.setattr(module, "NOTEBOOKS", sources)
        patch.setattr(sphinx_run, "OPTIONS", [*sphinx_run.OPTIONS, "-W", "--keep-going"])
        patch.setattr(module_pages, "OUTPUTS", outputs)
        for name, code in {"01_first": 0, "02_second": 0, "03_third": 1}.items():
            assert execute.main([name, str(outputs / "notebooks" / "quick"), "--profile", "quick"]) == code
        assert report.main(["site", "--profile", "quick"]) == 0
        assert report.main(["site", "--profile", "smoke"]) == 1, "no notebook of that profile was executed"
    whole = (outputs / "report" / "quick", next((outputs / "store" / "api").glob("[!.]*")))  # Sphinx hides files there
    assert [path.name for path in outputs.rglob(".*") if not any(path.is_relative_to(each) for each in whole)] == []
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
