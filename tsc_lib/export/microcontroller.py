"""An exported C program on imitated microcontrollers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tsc_lib.core.errors import UserError
from tsc_lib.export.c_source import make_up_series, unscale
from tsc_lib.export.predict import load
from tsc_lib.microcontroller import emulate, find_missing, find_processor, run_test
from tsc_lib.series.formats import series_of


def try_on_microcontrollers(folder: Path, names: Sequence[str], *, trust_native_code: bool = False) -> pd.DataFrame:
    """Compile an exported program for processors, run its own test there, and count what series of noise take.

    Parameters
    ----------
    folder : Path
        What ``export --runtime c`` wrote.
    names : sequence of str
        Processors of `tsc_lib.microcontroller.PROCESSORS`.
    trust_native_code : bool
        Whether the code may be executed. On an imitated board, too, it can read and write files of this machine.

    Returns
    -------
    DataFrame
        A row for each processor: memory of the whole program in 1024 bytes, instructions for a series, modelled time
        and energy, the largest difference of a logit from this machine's, relative to 1 + its size, and what its test
        says.

    Raises
    ------
    UserError
        If a tool is missing, the folder is no such export or is not trusted, or the program fails.
    """
    processors = [find_processor(name) for name in names]
    if missing := find_missing():
        raise UserError(missing)
    model = load(folder, 1, trust_native_code=trust_native_code)
    if model.bundle.runtime != "c":
        raise UserError(f"{folder} was exported for {model.bundle.runtime}; export the model again, with --runtime c")
    series = [unscale(model.bundle.scaling, one) for one in make_up_series(model.bundle)]
    own = model.logits(series_of(series, model.bundle.gaps))
    rows = []
    for processor in processors:
        said = run_test(folder, processor)
        ran = emulate(folder, series, processor)
        count, device = float(np.mean(ran.instructions)), processor.device
        row = {
            "processor": processor.name,
            "flash kB": ran.footprint.flash_bytes / 1024,
            "RAM kB": ran.ram_bytes / 1024,
            "of it stack": ran.stack_bytes / 1024,
            "instructions": round(count),
            "modelled ms": device.model_ms(count) if device else None,
            "modelled mJ": device.model_mj(count) if device else None,
            "difference": float((np.abs(ran.logits - own) / (1 + np.abs(own))).max()),
            "its own test": said,
        }
        rows.append(row)
    return pd.DataFrame(rows)
