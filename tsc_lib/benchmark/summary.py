"""From a session's raw windows to what is reported."""

from __future__ import annotations

from typing import Any

import numpy as np

from tsc_lib.benchmark.settings import CONTROL
from tsc_lib.core.stats import Interval, ratio_interval
from tsc_lib.energy import idle_drift

CPU = ("cpu_ms_per_sample", "cpu_ratio", "cpu_ratio_low", "cpu_ratio_high")
CONTROLS = ("aa_ratio", "aa_ratio_low", "aa_ratio_high")
LATENCIES = ("latency_p50_ms", "latency_p95_ms")
ENERGIES = (
    *["energy_mj_per_sample", "energy_low_mj_per_sample", "energy_high_mj_per_sample", "energy_net_mj_per_sample"],
    *["energy_ratio", "energy_ratio_low", "energy_ratio_high", "energy_windows"],
)
NUMBERS = (*CPU, *LATENCIES, *ENERGIES)
"""What a candidate has that was measured; None of one that failed."""


def summarise(raw: dict[str, Any]) -> list[dict[str, Any]]:
    """One dictionary per batch size and candidate.

    Parameters
    ----------
    raw : dict
        The child's result.

    Returns
    -------
    list of dict
        ``batch_size``, ``name``, ``role`` ("reference", "control" or "candidate"), ``status`` ("ok" or "failed: why"),
        ``cpu_ms_per_sample`` and ``energy_mj_per_sample`` (medians over windows), the energy's bounds
        ``energy_low_mj_per_sample`` and ``energy_high_mj_per_sample``, ``energy_net_mj_per_sample`` (above the idle
        machine, None unless a counter told its power), ``energy_ratio`` with its bounds (paired, as the CPU's),
        ``energy_windows`` (how many windows the source vouched for; with fewer than half there is no energy),
        ``energy_warning`` (why some were invalid, or that idle power drifted), ``energy_source``, ``energy_backend``,
        ``cpu_ratio`` with ``cpu_ratio_low`` and ``cpu_ratio_high`` (see `tsc_lib.core.stats.ratio_interval`),
        ``latency_p50_ms`` and ``latency_p95_ms`` (wall time of single calls), the control's ratio at that batch size
        ``aa_ratio``, ``aa_ratio_low``, ``aa_ratio_high``, and the raw values: ``block_ratios``, ``windows``,
        ``latency_ms``, ``sweeps`` per window and ``series_per_sweep``. Numbers of a failed candidate are None.
    """
    energy = {"energy_source": raw["energy"]["source"], "energy_backend": raw["energy"]["backend"]}
    idle = [watts for watts in raw["energy"]["idle_watts"] if watts is not None]
    return [row | energy for batch in raw["batches"] for row in summarise_batch(batch, idle)]


def summarise_batch(batch: dict[str, Any], idle_watts: list[float]) -> list[dict[str, Any]]:
    """The dictionaries of one batch size; the child lists the reference first and the control second."""
    runners = [runner | {"blocks": batch["blocks"]} for runner in batch["runners"]]
    reference = runners[0]
    rows = []
    for runner in runners:
        role = "reference" if runner is reference else "control" if runner["name"] == CONTROL else "candidate"
        row: dict[str, Any] = {"batch_size": batch["batch_size"], "name": runner["name"], "role": role}
        if runner["failure"] is not None:
            row |= {"status": f"failed: {runner['failure']}"} | dict.fromkeys(NUMBERS) | {"block_ratios": []}
        else:
            row |= {"status": "ok"} | numbers(runner, reference, batch["series"], idle_watts)
        row["energy_warning"] = warning(runner["invalid"], idle_watts)
        raw = {key: runner[key] for key in ("sweeps", "windows", "latency_ms", "blocks")}
        rows.append(row | raw | {"series_per_sweep": batch["series"]})
    aa = {f"aa_ratio{end}": rows[1][f"cpu_ratio{end}"] for end in ("", "_low", "_high")}
    return [row | aa for row in rows]


def per_sweep(row: dict[str, Any], key: str) -> np.ndarray:
    """What one run through the sample cost in each block, e.g. ``cpu_s``: the mean of its windows, NaN if one has none.

    The reference and its control have several windows in a block, all others one.
    """
    windows = np.array(row["windows"][key], dtype=float).reshape(row["blocks"], -1)
    return np.asarray(windows.mean(axis=1)) / row["sweeps"]


def cpu_ratio(row: dict[str, Any], other: dict[str, Any]) -> Interval:
    """CPU time of one candidate of a session ÷ another's at the same batch size, paired by block."""
    return ratio_interval(per_sweep(row, "cpu_s"), per_sweep(other, "cpu_s"))


def numbers(runner: dict[str, Any], reference: dict[str, Any], series: int, idle_watts: list[float]) -> dict[str, Any]:
    """The reported numbers of a candidate that ran."""
    samples = series * runner["sweeps"]
    windows = {key: np.array(values, dtype=float) for key, values in runner["windows"].items()}  # None becomes NaN

    cpu, reference_cpu = per_sweep(runner, "cpu_s"), per_sweep(reference, "cpu_s")
    joules, reference_joules = per_sweep(runner, "joules"), per_sweep(reference, "joules")
    valid = np.isfinite(windows["joules"])
    paired = np.isfinite(joules) & np.isfinite(reference_joules)
    enough = 2 * valid.sum() >= len(valid) and 2 * paired.sum() >= len(paired)
    p50, p95 = np.percentile(runner["latency_ms"], [50, 95])

    def per_sample(values: np.ndarray) -> float:
        """Median over windows, in thousandths: one disturbed window must not move it."""
        return float(1000 * np.median(values) / samples)

    def energy(key: str) -> float | None:
        return per_sample(windows[key][valid]) if enough else None

    idle = np.mean(idle_watts) * windows["wall_s"] if idle_watts else None
    values = (
        per_sample(windows["cpu_s"]),
        *cpu_ratio(runner, reference),
        float(p50),
        float(p95),
        energy("joules"),
        energy("joules_low"),
        energy("joules_high"),
        per_sample((windows["joules"] - idle)[valid]) if enough and idle is not None else None,
        *(ratio_interval(joules[paired], reference_joules[paired]) if enough else (None, None, None)),
        int(valid.sum()),
    )
    return dict(zip(NUMBERS, values, strict=True)) | {"block_ratios": (cpu / reference_cpu).tolist()}


def warning(invalid: list[str], idle_watts: list[float]) -> str:
    """What a reader must know of a candidate's energy; empty if nothing."""
    missing = f"{len(invalid)} windows without energy, the last because {invalid[-1]}" if invalid else ""
    return "; ".join(filter(None, [missing, idle_drift(idle_watts)]))
