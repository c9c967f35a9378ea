"""Whatever somebody did to an exported folder, it answers or is refused in one sentence, and no code of it runs."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tsc_lib
from tsc_lib.core.errors import UserError
from tsc_lib.export import bundle

X = np.random.default_rng(0).normal(size=(3, 1, 24))

quick = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

# What takes the place of a value in JSON: other types, numbers that nothing has, texts that cannot be printed.
values = st.recursive(
    st.sampled_from([None, True, 0, -1, 10**30, 1e308, float("nan"), "", "8", "a\nb", "\ud800", "inductor", "eager"]),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("ab"), inner, max_size=2)),
    max_leaves=4,
)
shares = st.integers(0, 999).map(lambda number: number / 1000)
# Where something is changed, as a share of what is there; and what comes there in place of so many bytes.
edits = st.lists(
    st.tuples(shares, st.integers(0, 9), st.one_of(st.binary(max_size=9), st.sampled_from([b"\0" * 64, b"{"]))),
    min_size=1,
    max_size=4,
)


@contextmanager
def copied(folder: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as scratch:
        yield Path(shutil.copytree(folder, Path(scratch) / "model"))


def sign_again(folder: Path) -> None:
    """Checksums of the files as they are now: those who change a model can change them too."""
    names = [line.split()[1] for line in (folder / bundle.SUMS).read_text().splitlines()]
    sums = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / bundle.SUMS).write_text("".join(sums))


def change_bytes(path: Path, changes: list[tuple[float, int, bytes]]) -> bool:
    """Replace some bytes of a file; tells whether it differs now."""
    before = content = path.read_bytes()
    for share, count, new in changes:
        start = int(share * len(content))
        content = content[:start] + new + content[start + count :]
    path.write_bytes(content)
    return content != before


def change_json(path: Path, place: float, value: Any) -> None:
    """Replace one value of a JSON file, at any depth."""
    content = json.loads(path.read_text())
    places: list[tuple[Any, Any]] = []

    def visit(node: Any) -> None:
        for key in node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            places.append((node, key))
            visit(node[key])

    visit(content)
    node, key = places[min(int(place * len(places)), len(places) - 1)]
    node[key] = value
    path.write_text(json.dumps(content))


def assert_refused(folder: Path) -> None:
    with pytest.raises(UserError) as caught:
        tsc_lib.load(folder).predict_proba(X)
    assert str(caught.value).replace(str(folder), "").isprintable()


def assert_answered_or_refused(folder: Path) -> None:
    try:
        found = tsc_lib.load(folder, threads=1).predict_proba(X)
    except UserError as error:
        assert str(error).isprintable()
        return
    assert len(found) == len(X)
    np.testing.assert_allclose(found.sum(axis=1), 1)


@quick
@given(data=st.data(), changes=edits)
def test_a_file_that_changed_is_refused(models: Path, data: st.DataObject, changes: list) -> None:
    with copied(models / "fixed") as folder:
        name = data.draw(st.sampled_from(sorted(path.name for path in folder.iterdir())))
        if change_bytes(folder / name, changes):
            assert_refused(folder)


@quick
@given(name=st.sampled_from(["bundle.json", "model.json"]), place=shares, value=values)
@pytest.mark.parametrize("kind", ["fixed", "one"])
def test_any_json_is_used_or_refused(models: Path, kind: str, name: str, place: float, value: Any) -> None:
    with copied(models / kind) as folder:
        change_json(folder / name, place, value)
        sign_again(folder)
        assert_answered_or_refused(folder)


@quick
@given(changes=edits)
@pytest.mark.parametrize(
    "file", ["fixed/model.onnx", "one/model.safetensors", "any-openvino/model.xml", "fixed/SHA256SUMS"]
)
def test_any_bytes_are_used_or_refused(models: Path, file: str, changes: list) -> None:
    kind, name = file.split("/")
    with copied(models / kind) as folder:
        change_bytes(folder / name, changes)
        if name != bundle.SUMS:
            sign_again(folder)
        assert_answered_or_refused(folder)


class Trap:
    """What writes a file as soon as a pickle of it is loaded."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple:
        return Path.touch, (self.sprung,)


@pytest.mark.parametrize("kind", ["fixed", "one", "any-openvino"])
def test_no_pickle_is_loaded_whatever_its_name(models: Path, tmp_path: Path, kind: str) -> None:
    for name in sorted(path.name for path in (models / kind).iterdir() if path.name != bundle.SUMS):
        with copied(models / kind) as folder:
            (folder / name).write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
            sign_again(folder)
            if name not in (bundle.REQUIREMENTS, bundle.CARD):  # nothing but their checksums is read
                assert_refused(folder)
    assert not (tmp_path / "sprung").exists()
