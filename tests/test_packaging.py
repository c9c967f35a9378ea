"""The ways to install the project agree with each other and with what the code imports."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import tsc_lib

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
SHIPPED = ("profiles", "notebooks", "docs", "workflow")
"""Folders of the repository that are installed inside the package."""
DECLARED = [Requirement(line) for line in sum(EXTRAS.values(), PROJECT["dependencies"])]


def pins():
    """The exact version of each package in constraints.txt."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == [], "exact, without build suffix"
    names = [canonicalize_name(line.split("==")[0]) for line in lines]
    assert len(set(names)) == len(names)
    return dict(zip(names, (line.split("==")[1] for line in lines), strict=True))


def test_every_declared_dependency_is_pinned_within_its_range():
    wrong = [str(r) for r in DECLARED if not r.specifier.contains(pins().get(canonicalize_name(r.name), "0"))]
    assert wrong == []
    assert all(r.specifier for r in DECLARED) and not any("==" in str(r.specifier) for r in DECLARED), "loose ranges"


def test_every_package_that_comes_along_is_pinned():
    pinned, seen, missing = pins(), set(), set()
    waiting = [(r.name, extra) for r in DECLARED for extra in ("", *r.extras)]
    while waiting:
        name, extra = waiting.pop()
        if (canonicalize_name(name), extra) in seen:
            continue
        seen.add((canonicalize_name(name), extra))
        if canonicalize_name(name) not in pinned:
            missing.add(name)
        try:
            needs = [Requirement(line) for line in metadata.requires(name) or []]
        except metadata.PackageNotFoundError:
            continue
        for need in needs:
            # The CUDA build of torch brings packages of its own, which depend on the machine.
            if (need.marker is None or need.marker.evaluate({"extra": extra})) and not _cuda(need.name):
                waiting += [(need.name, wanted) for wanted in ("", *need.extras)]
    assert missing == set()


def _cuda(name):
    return name.startswith(("nvidia-", "cuda-")) or name == "triton"


def test_conda_installs_the_same():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, packages = environment["dependencies"]
    assert pip == "pip"
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(Version(python.split("=")[1]))
    constraint, project = packages["pip"]
    assert constraint == "-c constraints.txt"
    assert sorted(Requirement(f"tsc_lib{project.removeprefix('-e .')}").extras) == sorted(EXTRAS)


def test_make_installs_the_same():
    command = re.search(r"pip install .*", (ROOT / "Makefile").read_text())[0]
    assert "--constraint constraints.txt" in command
    assert sorted(Requirement("tsc_lib" + re.search(r"\[.*\]", command)[0]).extras) == sorted(EXTRAS)


def test_everything_that_is_imported_is_declared():
    declared = {canonicalize_name(r.name) for r in DECLARED}
    distributions = metadata.packages_distributions()
    undeclared = set()
    ours = {"tsc_lib", *(path.stem for folder in ("tests", "benchmarks") for path in (ROOT / folder).glob("*.py"))}
    for path in [path for folder in ("tsc_lib", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            for top in {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - ours:
                if not declared & {canonicalize_name(name) for name in distributions.get(top, [top])}:
                    undeclared.add(f"{path.name}: {top}")
    assert undeclared == set()


def test_the_library_works_without_the_report_tools():
    script = "import sys, tsc_lib.report.build, tsc_lib.training; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert {"sphinx", "snakemake", "papermill", "jupyterlab", "IPython", "pytest"} & set(loaded) == set()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The project as a wheel, built from a copy of what is in the repository."""
    root = tmp_path_factory.mktemp("wheel")
    leave_out = shutil.ignore_patterns(".*", "outputs", "build", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, root / "source", ignore=leave_out)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        root,
    ]
    subprocess.run([*command, root / "source"], check=True)
    return next(root.glob("*.whl"))


def run_at(folder, *command):
    """A command in a folder, where nothing leads to this checkout."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "TSC_OUTPUTS")}
    return subprocess.run(list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_an_exported_model_predicts_where_the_wheel_and_its_runtime_alone_are_installed(wheel, models, tmp_path):
    venv.create(tmp_path / "venv")
    there = tmp_path / "venv" / "bin"
    install = [sys.executable, "-m", "pip", "--python", there / "python", "install", "--quiet", wheel]
    done = run_at(tmp_path, *install, "-r", models / "fixed" / "requirements.txt")
    assert done.returncode == 0, done.stderr
    series = np.random.default_rng(0).normal(size=(3, 24))
    np.savetxt(tmp_path / "series.csv", series, delimiter=",")
    done = run_at(tmp_path, there / "tsc-lib", "predict", models / "fixed", "series.csv")
    predicted = [line.split(",")[1] for line in done.stdout.splitlines()[1:]]
    assert predicted == tsc_lib.load(models / "fixed").predict(series).tolist(), done.stderr
    done = run_at(tmp_path, there / "tsc-lib", "data", "GunPoint")
    assert done.returncode == 1 and "is not installed: pip install 'tsc_lib[study]'" in done.stderr
    assert tsc_lib.__version__ in run_at(tmp_path, there / "tsc-lib", "--version").stdout


@pytest.mark.slow
def test_an_installed_package_is_whole_and_works_in_the_working_directory(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as file:
        file.extractall(tmp_path / "installed")
        names = set(file.namelist())
    assert "tsc_lib/py.typed" in names
    shipped = [path for name in SHIPPED for path in (ROOT / name).rglob("*") if path.is_file()]
    made = {"__pycache__", ".ipynb_checkpoints"}
    expected = {f"tsc_lib/{path.relative_to(ROOT)}" for path in shipped if not made & set(path.parts)}
    assert expected - names == set()
    script = f"""
import sys
sys.path.insert(0, {str(tmp_path / "installed")!r})
from tsc_lib.core.store import OUTPUTS
from tsc_lib.report.execute import NOTEBOOKS
from tsc_lib.report.site import SOURCES
from tsc_lib.study.profiles import PROFILES
print(OUTPUTS, NOTEBOOKS, SOURCES, PROFILES, sep="\\n")
"""
    (tmp_path / "here").mkdir()
    outputs, *folders = run_at(tmp_path / "here", sys.executable, "-c", script).stdout.splitlines()
    assert Path(outputs) == (tmp_path / "here" / "outputs").resolve()
    package = tmp_path / "installed" / "tsc_lib"
    assert [Path(folder) for folder in folders] == [package / name for name in ("notebooks", "docs", "profiles")]


def test_continuous_integration_calls_make_test():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK) and "make test" in script.read_text()
    assert "set -euo pipefail" in script.read_text()


def test_citation_and_licence_agree_with_the_project():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == tsc_lib.__version__ and citation["license"] == PROJECT["license"] == "BSD-3-Clause"
    assert "the tsc_lib authors" in (ROOT / "LICENSE").read_text()


@pytest.mark.parametrize(
    "path", ["README.md", "CONTRIBUTING.md", *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))]
)
def test_relative_links_lead_somewhere(path):
    text = (ROOT / path).read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert [link for link in links if not (ROOT / path).parent.joinpath(link).exists()] == []
