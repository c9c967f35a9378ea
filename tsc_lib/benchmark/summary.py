"""From a session's raw windows to what is reported."""

from __future__ import annotations

from typing import Any

import numpy as np

from tsc_lib.benchmark.settings import CONTROL
from tsc_lib.stats import ratio_interval

NUMBERS = (
    "cpu_ms_per_sample",
    "cpu_ratio",
    "cpu_ratio_low",
    "cpu_ratio_high",
    "latency_p50_ms",
    "latency_p95_ms",
    "energy_mj_per_sample",
    "energy_low_mj_per_sample",
    "energy_high_mj_per_sample",
)


def summarise(raw: dict[str, Any], *, seed: int = 0) -> list[dict[str, Any]]:
    """One dictionary per batch size and candidate.

    Parameters
    ----------
    raw : dict
        The child's result.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    list of dict
        ``batch_size``, ``name``, ``role`` ("reference", "control" or "candidate"), ``status`` ("ok" or "failed: why"),
        ``cpu_ms_per_sample`` and ``energy_mj_per_sample`` (medians over windows), the energy's bounds
        ``energy_low_mj_per_sample`` and ``energy_high_mj_per_sample``, ``energy_source``, ``energy_backend``,
        ``cpu_ratio`` with ``cpu_ratio_low`` and ``cpu_ratio_high`` (see `tsc_lib.stats.ratio_interval`),
        ``latency_p50_ms`` and ``latency_p95_ms`` (wall time of single calls), the control's ratio at that batch size
        ``aa_ratio``, ``aa_ratio_low``, ``aa_ratio_high``, and the raw values: ``block_ratios``, ``windows``,
        ``latency_ms``, ``sweeps`` per window and ``series_per_sweep``. Numbers of a failed candidate are None.
    """
    energy = {"energy_source": raw["energy"]["source"], "energy_backend": raw["energy"]["backend"]}
    return [row | energy for batch in raw["batches"] for row in summarise_batch(batch, seed)]


def summarise_batch(batch: dict[str, Any], seed: int) -> list[dict[str, Any]]:
    """The dictionaries of one batch size; the child lists the reference first and the control second."""
    runners = batch["runners"]
    reference = runners[0]
    reference_cpu = np.array(reference["windows"]["cpu_s"]) / reference["sweeps"]
    rows = []
    for runner in runners:
        role = "reference" if runner is reference else "control" if runner["name"] == CONTROL else "candidate"
        row: dict[str, Any] = {"batch_size": batch["batch_size"], "name": runner["name"], "role": role}
        if runner["failure"] is not None:
            row |= {"status": f"failed: {runner['failure']}"} | dict.fromkeys(NUMBERS) | {"block_ratios": []}
        else:
            row |= {"status": "ok"} | numbers(runner, batch["series"], reference_cpu, seed)
        raw = {key: runner[key] for key in ("sweeps", "windows", "latency_ms")}
        rows.append(row | raw | {"series_per_sweep": batch["series"], "blocks": batch["blocks"]})
    aa = {f"aa_ratio{end}": rows[1][f"cpu_ratio{end}"] for end in ("", "_low", "_high")}
    return [row | aa for row in rows]


def numbers(runner: dict[str, Any], series: int, reference_cpu: np.ndarray, seed: int) -> dict[str, Any]:
    """The reported numbers of a candidate that ran."""
    samples = series * runner["sweeps"]
    windows = {key: np.array(values) for key, values in runner["windows"].items()}
    cpu = windows["cpu_s"] / runner["sweeps"]
    ratio = ratio_interval(cpu, reference_cpu, seed=seed)
    p50, p95 = np.percentile(runner["latency_ms"], [50, 95])

    def per_sample(key: str) -> float:
        """Median over windows, in thousandths: one disturbed window must not move it."""
        return float(1000 * np.median(windows[key]) / samples)

    values = (
        per_sample("cpu_s"),
        *ratio,
        float(p50),
        float(p95),
        per_sample("joules"),
        per_sample("joules_low"),
        per_sample("joules_high"),
    )
    return dict(zip(NUMBERS, values, strict=True)) | {"block_ratios": (cpu / reference_cpu).tolist()}
