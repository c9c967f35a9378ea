"""Whatever the bytes of a file are, it is read or refused in one sentence; what is valid is read as it was written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tsc_lib.core.errors import UserError
from tsc_lib.series.csvfile import LABEL_COLUMNS, CsvLayout, read_csv
from tsc_lib.series.tsfile import parse
from tsc_lib.series.values import GAPS, MISSING, Series

LABELS = ("walk slow", "run", "7", "1")

quick = settings(
    max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)

# Files: bytes of any kind, and pieces that mean something to a reader, in any order.
CELLS = ["0", "1", "2", "-1.5", "1e5", "1e999", "1_0", "0,5", "x", "\u0661", "inf", "-nan", "é", *LABELS, *MISSING]
MARKS = [",", ":", ";", "\t", "\n", "\r\n", '"', " ", "#", "%", "\ufeff", "\0", "\x1b", "\u2028", "\ufffd"]
HEADERS = ["@data\n", "@classLabel true run 7\n", "@classLabel false\n", "@univariate true\n", "@dimensions 2\n"]
HEADERS += ["@equalLength true\n", "@equalLength false\n", "@seriesLength 3\n", "@seriesLength ?\n", "@missing false\n"]
pieces = st.lists(st.sampled_from([*CELLS, *MARKS, *MARKS, *HEADERS]), max_size=40).map("".join)
files = st.one_of(
    st.binary(max_size=200),
    pieces.map(str.encode),
    pieces.map(lambda text: ("@data\n" + text).encode()),
    pieces.map(lambda text: text.encode("latin1", errors="replace")),
    st.tuples(pieces, st.integers(0, 200), st.integers(0, 255)).map(
        lambda given: given[0].encode()[: given[1]] + bytes([given[2]]) + given[0].encode()[given[1] :]
    ),
)
layouts = st.builds(
    CsvLayout,
    header=st.sampled_from([None, True, False]),
    index_column=st.sampled_from([None, True, False]),
    label_column=st.sampled_from([None, *LABEL_COLUMNS]),
)


def assert_read_or_refused(reader: Callable[[], Series]) -> None:
    try:
        found = reader()
    except UserError as error:
        assert len(str(error).splitlines()) == 1
        assert str(error).isprintable()
        return
    assert found.x
    assert {one.dtype for one in found.x} == {np.dtype(float)}
    assert {one.shape[0] for one in found.x} == {found.channels}
    assert all(one.size and np.isfinite(one).all() for one in found.x)
    assert len(found.labels) in (0, len(found.x))
    assert len(found.lines) == len(found.x)


@quick
@given(content=files, labelled=st.booleans(), gaps=st.sampled_from(GAPS))
def test_any_ts_file_is_read_or_refused_in_one_sentence(content: bytes, labelled: bool, gaps: str) -> None:
    assert_read_or_refused(lambda: parse(content, Path("x.ts"), labelled=labelled, gaps=gaps))


@quick
@given(content=files, layout=layouts, length=st.sampled_from([None, 1, 2, 3]), gaps=st.sampled_from(GAPS))
def test_any_csv_file_is_read_or_refused_in_one_sentence(
    content: bytes, layout: CsvLayout, length: int | None, gaps: str
) -> None:
    assert_read_or_refused(lambda: read_csv(content, Path("x.csv"), gaps, layout, length, LABELS))


# Series: numbers as programs write them, which are often whole, and rows that look like counters.
numbers = st.one_of(
    st.floats(-1e38, 1e38, allow_subnormal=False), st.integers(-3, 9).map(float), st.sampled_from([0.0, 1.0, 0.5])
)


@st.composite
def data_sets(draw: st.DrawFn) -> tuple[list[np.ndarray], list[str], bool]:
    """Series (channels, length), a label for each, and whether all have one length."""
    channels, equal = draw(st.integers(1, 3)), draw(st.booleans())
    lengths = st.just(draw(st.integers(1, 7))) if equal else st.integers(1, 7)
    x = [
        np.array(draw(st.lists(st.lists(numbers, min_size=n, max_size=n), min_size=channels, max_size=channels)))
        for n in draw(st.lists(lengths, min_size=1, max_size=6))
    ]
    letters = st.characters(exclude_categories=["C", "Z"], exclude_characters=",:?\ufffd")
    words = st.text(letters, min_size=1, max_size=5).filter(lambda word: word.lower() not in MISSING)
    labels = st.lists(words, min_size=1, max_size=2).map(" ".join)
    return x, [draw(labels) for _ in x], len({one.shape for one in x}) == 1


@quick
@given(data_sets(), st.integers(0, 3), st.sampled_from(["\n", "\r\n"]), st.sampled_from(GAPS))
def test_a_valid_ts_file_is_read_as_it_was_written(
    written: tuple[list[np.ndarray], list[str], bool], padding: int, end: str, gaps: str
) -> None:
    x, labels, equal = written
    longest = max(one.shape[1] for one in x) + padding
    padded = [np.pad(one, ((0, 0), (0, longest - one.shape[1] if padding else 0)), constant_values=np.nan) for one in x]
    rows = [":".join(",".join(map(repr, channel.tolist())) for channel in one) for one in padded]
    header = ["@problemName Toy", f"@univariate {str(len(x[0]) == 1).lower()}", f"@dimensions {len(x[0])}"]
    header += [f"@equalLength {str(equal or padding > 0).lower()}", f"@classLabel true {' '.join(labels)}", "@data"]
    text = end.join([*header, *(f"{row}:{label}" for row, label in zip(rows, labels, strict=True)), ""])
    found = parse(text.encode(), Path("x.ts"), gaps=gaps)
    assert found.labels == labels
    assert [one.tolist() for one in found.x] == [one.tolist() for one in x]
    assert bool(found.notes) == (padding > 0)


@quick
@given(st.data(), st.booleans(), st.booleans(), st.sampled_from([*LABEL_COLUMNS]), st.booleans(), st.booleans())
def test_a_valid_csv_file_is_read_as_it_was_written_or_refused(
    data: st.DataObject, header: bool, index: bool, label: str, equal: bool, told: bool
) -> None:
    """Nothing is ever taken for what it is not; and with all options given, nothing is refused."""
    rows, length = data.draw(st.integers(1, 5)), data.draw(st.integers(2, 6))
    cells = data.draw(st.lists(st.lists(numbers, min_size=length, max_size=length), min_size=rows, max_size=rows))
    labels = data.draw(st.lists(st.sampled_from(LABELS), min_size=rows, max_size=rows))
    frame = pd.DataFrame(cells)
    if data.draw(st.booleans()):
        frame.columns = [f"v{i}" for i in range(length)]
    if label != "none":
        frame.insert(0 if label == "first" else length, data.draw(st.sampled_from(["label", "what"])), labels)
    text = frame.to_csv(header=header, index=index, sep=data.draw(st.sampled_from([",", ";", "\t"])))
    layout = CsvLayout(header, index, label) if told else CsvLayout()
    try:
        found = read_csv(text.encode(), Path("x.csv"), "refuse", layout, length if equal else None, LABELS)
    except UserError:
        assert not told
        return
    assert [one[0].tolist() for one in found.x] == cells
    assert found.labels == (labels if label != "none" else [])
