"""Made-up data sets, and tables with the columns of the real ones, for tests of what reads them."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd

CLASSES = {"ElectricDevices": 7, "RefrigerationDevices": 3, "PLAID": 11}
LEVEL = {"ElectricDevices": 0.66, "RefrigerationDevices": 0.51, "PLAID": 0.71}
SIZE = {"ElectricDevices": 1.0, "RefrigerationDevices": 6.5, "PLAID": 3.4}
LARGE = {"ElectricDevices": 256}
SERIES = {"ElectricDevices": 7711, "RefrigerationDevices": 375, "PLAID": 537}
RATIOS = (0.2, 0.5, 0.8)


def write_data(folder: Path, train: list[tuple[np.ndarray, str]], test: list[tuple[np.ndarray, str]]) -> str:
    """A data set of series (channels, length) and labels; its folder as text."""
    folder.mkdir()
    for part, series in (("TRAIN", train), ("TEST", test)):
        rows = [":".join(",".join(map(repr, map(float, channel))) for channel in x) + f":{y}" for x, y in series]
        text = "\n".join(["@problemName made", "@classLabel true a b c d", "@data", *rows, ""])
        (folder / f"{folder.name}_{part}.ts").write_text(text)
    return str(folder)


def waves(count: int, label: str, seed: int = 0, length: int = 24) -> list[tuple[np.ndarray, str]]:
    """Noisy sine waves of one channel, whose frequency tells the class."""
    rng = np.random.default_rng([seed, *label.encode()])
    steps = np.linspace(0, 2 * np.pi * (1 + ord(label) - ord("a")), length)
    return [(np.sin(steps + rng.uniform(0, 1)) + rng.normal(0, 0.2, (1, length)), label) for _ in range(count)]


def variants() -> dict[str, tuple[str, ...]]:
    """Recipes and their runtimes, as in the profile of the study."""
    recipes = {"baseline": ("eager", "inductor"), "int8(dynamic)": ("eager",), "int8(static)": ("inductor",)}
    for step, norm, ratio in itertools.product(("mask", "prune"), ("l1", "l2"), RATIOS):
        recipes[f"{step}({norm}, {ratio})"] = ("eager",)
        recipes[f"{step}({norm}, {ratio}) > finetune(4)"] = ("eager",)
    return recipes | {"prune(l1, 0.5) > finetune(4) > int8(static)": ("inductor",)}


def results(datasets=tuple(LEVEL), models=("T1", "T2"), seeds=(0, 1, 2)) -> pd.DataFrame:
    """A results table with one row per data set, model, recipe, runtime, seed and batch size; nothing failed."""
    rng = np.random.default_rng(0)
    rows = []
    for dataset, model, seed in itertools.product(datasets, models, seeds):
        baseline = LEVEL.get(dataset, 0.7) + 0.02 * (model == "T2") + rng.normal(0, 0.01)
        for recipe, runtimes in variants().items():
            for runtime in runtimes:
                drop, cost, part = effect(recipe, runtime, rng)
                for size in (1, LARGE.get(dataset, 64)):
                    rows.append(row(dataset, model, recipe, runtime, seed, size, baseline, drop, cost, part, rng))
    return pd.DataFrame(rows)


def effect(recipe, runtime, rng):
    """Points lost, CPU-time ratio at the large batch and share of the size that is left."""
    ratio = next((r for r in RATIOS if str(r) in recipe), 0.0)
    if recipe == "baseline":
        return 0.0, 1.0 if runtime == "eager" else rng.normal(0.76, 0.01), 1.0
    drop, cost, part = 0.2 + 10 * ratio**2, 1.0, 1.0
    if "prune" in recipe:
        drop, cost, part = 0.2 + 25 * ratio**2, 1 - 1.15 * ratio + 0.2 * ratio**2, 1 - ratio
    if "finetune" in recipe:
        drop *= 0.2
    if "int8" in recipe:
        drop, cost, part = drop + 0.6, cost * (0.65 if "static" in recipe else 0.94), part * 0.3
    return drop + rng.normal(0, 0.4), cost * rng.normal(1, 0.015), part


def row(dataset, model, recipe, runtime, seed, size, baseline, drop, cost, part, rng):
    """One row of the results table."""
    accuracy = float(np.clip(baseline - drop / 100, 0.01, 0.99))
    half = 1.96 * np.sqrt(accuracy * (1 - accuracy) / SERIES.get(dataset, 400))
    reference_ms = SIZE.get(dataset, 1.0) * (1.9 if model == "T2" else 1.0) * (0.19 if size > 1 else 0.9)
    ratio = cost if size > 1 else cost * (1.3 if "int8" in recipe else 1.05)
    ratio = 1.0 if (recipe, runtime) == ("baseline", "eager") else ratio
    ms = reference_ms * ratio * rng.normal(1, 0.03)
    params = (180_041 if model == "T1" else 264_137) * (part if "prune" in recipe else 1)
    int8 = 50 if "int8" in recipe else 0
    return {
        "dataset": dataset, "model": model, "recipe": recipe, "runtime": runtime, "seed": seed, "batch_size": size,
        "threads": 1, "accuracy": accuracy, "accuracy_low": accuracy - half, "accuracy_high": accuracy + half,
        "accuracy_unseen": accuracy, "test_in_train": 0, "f1_macro": accuracy - 0.04, "classes_predicted": 3,
        "largest_class_share": 0.3, "accuracy_drop": drop, "accuracy_drop_low": drop - 0.8,
        "accuracy_drop_high": drop + 0.8, "params": int(params), "nonzero_params": int(params),
        "macs": int(params * 12 * SIZE.get(dataset, 1.0)), "model_bytes": int(params * (1.2 if int8 else 4)),
        "int8_ops": int8, "fp32_ops": 52 - int8, "cpu_ms_per_sample": ms, "cpu_ratio": ratio,
        "cpu_ratio_low": ratio * 0.98, "cpu_ratio_high": ratio * 1.02, "aa_ratio": 1.003, "aa_ratio_low": 0.995,
        "aa_ratio_high": 1.011, "latency_p50_ms": ms * size, "latency_p95_ms": ms * size * 1.2,
        "energy_mj_per_sample": 5 * ms, "energy_low_mj_per_sample": 2 * ms, "energy_high_mj_per_sample": 10 * ms,
        "energy_net_mj_per_sample": None, "energy_ratio": ratio, "energy_ratio_low": 0.97 * ratio,
        "energy_ratio_high": 1.03 * ratio, "energy_windows": 40, "energy_source": "estimated",
        "energy_backend": "cputime", "energy_warning": "", "energy_modelled_mj_per_sample": 0.01 * part,
        "status": "ok",
    }  # fmt: skip


def failed(table: pd.DataFrame, where: pd.Series, why: str = "failed: RuntimeError: no kernel") -> pd.DataFrame:
    """The table in which the chosen rows are runs that failed, and so hold no numbers."""
    table = table.copy()
    named = {"dataset", "model", "recipe", "runtime", "seed", "batch_size", "threads", "status"}
    for column in set(table.columns) - named:
        blank = None if table[column].dtype.kind not in "if" else np.nan
        if table[column].dtype.kind == "i":
            table[column] = table[column].astype(float)
        table.loc[where, column] = blank
    table.loc[where, "status"] = why
    return table


def histories(table: pd.DataFrame, epochs: int = 20) -> pd.DataFrame:
    """Training histories of the results' models."""
    rng = np.random.default_rng(1)
    rows = []
    for dataset, model, seed in table[["dataset", "model", "seed"]].drop_duplicates().itertuples(index=False):
        epoch = np.arange(1, epochs + 1)
        valid = 0.86 - 0.5 * np.exp(-epoch / 4) + rng.normal(0, 0.015, epochs)
        part = {"dataset": dataset, "model": model, "seed": seed, "epoch": epoch, "valid_accuracy": valid}
        part |= {"train_loss": 1.9 * np.exp(-epoch / 9), "valid_loss": 1.1 * np.exp(-epoch / 7) + 0.5, "seconds": 4.0}
        rows.append(pd.DataFrame({**part, "best": epoch == 1 + valid.argmax()}))
    return pd.concat(rows, ignore_index=True)


def predictions(table: pd.DataFrame, n: int = 300) -> pd.DataFrame:
    """Predictions of the results' models."""
    rng = np.random.default_rng(2)
    rows = []
    for dataset, model, seed in table[["dataset", "model", "seed"]].drop_duplicates().itertuples(index=False):
        classes = np.arange(CLASSES.get(dataset, 2)).astype(str)
        true = rng.integers(len(classes), size=n)
        guessed = np.where(rng.random(n) < 0.7, true, rng.integers(len(classes), size=n))
        part = {"dataset": dataset, "model": model, "seed": seed, "series": np.arange(n)}
        rows.append(pd.DataFrame({**part, "true": classes[true], "predicted": classes[guessed]}))
    return pd.concat(rows, ignore_index=True)


def removed(table: pd.DataFrame) -> pd.DataFrame:
    """Which heads and neurons each removal kept."""
    rng = np.random.default_rng(3)
    rows = []
    chosen = table[table.recipe.isin([f"prune(l1, {ratio})" for ratio in RATIOS])]
    columns = ["dataset", "model", "seed", "recipe"]
    for dataset, model, seed, recipe in chosen[columns].drop_duplicates().itertuples(index=False):
        layers, heads = (8, 8) if model == "T1" else (12, 16)
        ratio = float(recipe.split(",")[1].rstrip(")"))
        for layer in range(layers):
            for part, width in (("heads", heads), ("neurons", 256)):
                kept = rng.permutation(width) >= ratio * width
                content = {"dataset": dataset, "model": model, "seed": seed, "recipe": recipe, "layer": layer}
                rows.append(pd.DataFrame({**content, "part": part, "index": np.arange(width), "kept": kept}))
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame()


def aa_windows(table: pd.DataFrame, blocks: int = 20) -> pd.DataFrame:
    """Ratios of the reference's second loading to its first, block by block."""
    rng = np.random.default_rng(4)
    columns = ["dataset", "model", "seed", "batch_size"]
    rows = []
    for dataset, model, seed, size in table[columns].drop_duplicates().itertuples(index=False):
        part = {"dataset": dataset, "model": model, "seed": seed, "batch_size": size, "block": np.arange(blocks)}
        rows.append(pd.DataFrame({**part, "ratio": rng.normal(1.0, 0.03 if size == 1 else 0.01, blocks)}))
    return pd.concat(rows, ignore_index=True)
