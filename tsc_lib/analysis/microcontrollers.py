"""Variants on imitated microcontrollers: means over the seeds, with modelled time and energy."""

from __future__ import annotations

import pandas as pd

from tsc_lib.analysis.quantities import over_seeds
from tsc_lib.microcontroller import PROCESSORS, PUBLISHED_MJ

SMALL_KB = {"ram_kb": 64, "flash_kb": 256}
"""Memory of a small microcontroller, in 1024 bytes."""

KEYS = ["dataset", "model", "recipe", "processor"]


def summarize_emulations(table: pd.DataFrame) -> pd.DataFrame:
    """Every variant on every processor where it ran.

    Parameters
    ----------
    table : DataFrame
        Of `tsc_lib.study.microcontrollers.emulate_variants`.

    Returns
    -------
    DataFrame
        Columns `dataset`, `model`, `recipe`, `processor`, `variant` (what the figures call it), `accuracy` in per cent
        with its 95 % interval (over the seeds, or of a single one over its test series), `flash_kb` and `ram_kb` of
        1024 bytes, `instructions` for one series, `largest_relative_difference` of a logit, and `modelled_ms` and
        `modelled_mj` for one series on the device of `tsc_lib.microcontroller.PROCESSORS`, where there is one.
    """
    rows = table[table.status == "ok"].copy()
    rows["flash_kb"], rows["ram_kb"] = rows.flash_bytes / 1024, rows.ram_bytes / 1024
    plain = ["params", "macs", "flash_kb", "ram_kb", "instructions"]
    found = over_seeds(rows, KEYS, means=["accuracy"], plain=plain)
    for end in ("", "_low", "_high"):
        found[f"accuracy{end}"] *= 100
    largest = rows.groupby(KEYS, sort=False).largest_relative_difference.max().reset_index()
    found = found.merge(largest, on=KEYS, how="left")
    found.insert(0, "variant", [name_variant(*row) for row in zip(found.model, found.recipe, strict=True)])
    devices = [PROCESSORS[name].device for name in found.processor]
    pairs = list(zip(devices, found.instructions, strict=True))
    found["modelled_ms"] = [device.model_ms(count) if device else float("nan") for device, count in pairs]
    found["modelled_mj"] = [device.model_mj(count) if device else float("nan") for device, count in pairs]
    return found


def name_variant(model: str, recipe: str) -> str:
    """What a variant is called.

    Examples
    --------
    >>> name_variant("T1", "baseline"), name_variant("T1", "student(2, 2)")
    ('T1', 'T1 > student(2, 2)')
    """
    return model if recipe == "baseline" else f"{model} > {recipe}"


def list_devices() -> pd.DataFrame:
    """What modelled times and energies are made from: a row for each processor with a device."""
    rows = [
        {
            "processor": each.name,
            "device": each.device.name,
            "clock, MHz": each.device.clock_mhz,
            "measured power, mW": each.device.power_mw,
            "nJ per instruction": round(each.device.nj_per_instruction, 3),
            "source": each.device.source,
        }
        for each in PROCESSORS.values()
        if each.device is not None
    ]
    return pd.DataFrame(rows)


def list_published() -> pd.DataFrame:
    """What others measured of int8 networks on the same devices: columns `task`, `processor` and `measured_mj`."""
    rows = [(*key, value) for key, value in PUBLISHED_MJ.items()]
    return pd.DataFrame(rows, columns=["task", "processor", "measured_mj"])
