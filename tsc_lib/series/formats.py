"""Files of series to classify: ``.ts``, ``.csv`` and ``.npz``."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from tsc_lib.core.errors import UserError
from tsc_lib.core.files import read_regular
from tsc_lib.series import tsfile
from tsc_lib.series.csvfile import FIND_OUT, CsvLayout, read_csv
from tsc_lib.series.values import LARGEST, Series, close_gaps

SAVE = "save the series with numpy.savez(file, x=series)"


def read(
    path: Path,
    gaps: str = "refuse",
    layout: CsvLayout = FIND_OUT,
    length: int | None = None,
    labels: tuple[str, ...] = (),
) -> Series:
    """Read a file of series; labels are optional.

    Parameters
    ----------
    path : Path
        ``.ts``: the archives' format. ``.csv``: one series of one channel in each line. ``.npz``: an array ``x``
        (n, channels, length) or (n, length), and optionally ``lengths`` (n,).
    gaps : {"refuse", "interpolate"}
        What to do about missing values; in ``.npz`` they are NaN. Those at the end of a series are its end.
    layout, length, labels
        For ``.csv``; see `tsc_lib.series.csvfile.read_csv`.

    Raises
    ------
    UserError
        If the file cannot be read, is of another kind, or holds a value that is infinite, no number, or missing where
        that is refused.
    """
    missing = f"there is no file {path}; give the series to classify as a .ts, .csv or .npz file"
    kind = path.suffix.lower()
    if kind == ".csv":
        return read_csv(read_regular(path, missing), path, gaps, layout, length, labels)
    if kind not in (".ts", ".npz"):
        raise UserError(f"{path} is of no kind that can be read; give a .ts, .csv or .npz file")
    if layout != FIND_OUT:
        raise UserError(f"{path} is no .csv file; --header, --index-column and --label-column are for those alone")
    content = read_regular(path, missing)
    return read_npz(content, path, gaps) if kind == ".npz" else tsfile.parse(content, path, labelled=False, gaps=gaps)


def read_npz(content: bytes, path: Path, gaps: str = "refuse") -> Series:
    """Read the bytes of an ``.npz`` file with ``x`` and optionally ``lengths``; nothing in it is unpickled.

    Raises
    ------
    UserError
        If the file is damaged, its arrays have other names, shapes or types, or a value is not finite.
    """
    arrays = _arrays(content, path)
    if "x" not in arrays:
        held = ", ".join(sorted(arrays)) or "nothing"
        raise UserError(f"{path} holds no array x (it holds {held}); {SAVE}")
    x = arrays["x"]
    if x.dtype.kind not in "iuf" or x.ndim not in (2, 3) or not x.size:
        raise UserError(
            f"{path}: x must hold numbers in the shape (series, channels, length) or (series, length), not "
            f"{x.dtype} in the shape {x.shape}"
        )
    x = x[:, None] if x.ndim == 2 else x
    lengths = arrays.get("lengths", np.full(len(x), x.shape[2]))
    within = lengths.dtype.kind in "iu" and lengths.shape == x.shape[:1] and ((lengths > 0) & (lengths <= x.shape[2]))
    if not np.all(within):
        raise UserError(
            f"{path}: lengths must be {len(x)} whole numbers between 1 and {x.shape[2]}, one for each series"
        )
    return _checked(
        Series(path, [one[:, :n].astype(np.float64) for one, n in zip(x, lengths, strict=True)], [], []), gaps
    )


def series_of(x: np.ndarray | Sequence[np.ndarray], gaps: str = "refuse", labels: Iterable[object] = ()) -> Series:
    """Series that are in memory, as a file of them would be read.

    Parameters
    ----------
    x : ndarray of shape (n, channels, length) or (n, length), or sequence of ndarray of shape (channels, length_i)
        Missing values are NaN.
    gaps : {"refuse", "interpolate"}
        What to do about missing values.
    labels : iterable, optional
        The label of each series.

    Raises
    ------
    UserError
        If there is no series, the shapes are others, or a value is infinite, or missing where that is refused.
    """
    found = [np.asarray(one, dtype=np.float64) for one in x]
    if not found or any(one.ndim not in (1, 2) or not one.size for one in found):
        raise UserError("X must hold series: an array (n, channels, length), or a list of arrays (channels, length)")
    return _checked(
        Series(Path("X"), [np.atleast_2d(one) for one in found], [str(label) for label in labels], []), gaps
    )


def _checked(found: Series, gaps: str) -> Series:
    """The series without gaps and padding."""
    written = [one.shape[1] for one in found.x]
    for i, one in enumerate(found.x):
        where = found.where(i)
        large = np.abs(one) > LARGEST
        if large.any():
            channel, step = np.argwhere(large)[0]
            raise UserError(
                f"{where}: value {step + 1} of channel {channel + 1} is infinite or too large for float32; mend it or "
                "leave the series out"
            )

        def sentence(channel: int, step: int, where: str = where) -> str:
            return f"{where}: value {step + 1} of channel {channel + 1} is missing"

        found.x[i] = close_gaps(one, where, sentence, gaps)
    found.note_padding(written)
    return found


def _arrays(content: bytes, path: Path) -> dict[str, np.ndarray]:
    if not content:
        raise UserError(f"{path} is empty; {SAVE}")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # numpy and zipfile fail in as many ways as a byte can be wrong
        if "Object arrays" in str(error):
            raise UserError(
                f"{path} holds Python objects, which are never loaded; save one array x of numbers, padded, and lengths"
            ) from None
        raise UserError(f"{path} is damaged or no .npz file; {SAVE}") from None
