"""Published figures to set our results beside, as data with their sources."""

from __future__ import annotations

import pandas as pd

STUDY_DATASETS = ("ElectricDevices", "RefrigerationDevices", "PLAID")
"""The data sets of arXiv:2502.16627."""

STUDY_SAVINGS = {"static int8": 29.14, "L1 pruning": 37.08, "pruning and int8": 45.7}
"""Energy saved, in %, that the study states: the first in its abstract, the others as summarised elsewhere."""

STUDY_PARAMETERS = {"T1": 180_041, "T2": 264_137}
"""Parameters that the study states of its models, for the series of `STUDY_SERIES`."""

STUDY_SERIES = (4, 9, 151)
"""Channels, classes and time steps of UniMiB SHAR."""

# Seconds for the whole test set of UniMiB SHAR, and accuracy in %: the authors' earlier report, pruned by 0.2.
_EARLIER = {
    "T1": {
        "fp32": (10.42, 73.3),
        "static int8": (7.35, 69.8),
        "L1 pruning": (6.41, 69.1),
        "dynamic int8": (6.86, 67.2),
        "L2 pruning": (6.95, 68.4),
    },
    "T2": {
        "fp32": (12.32, 78.5),
        "static int8": (6.23, 77.1),
        "L1 pruning": (5.61, 69.7),
        "dynamic int8": (6.96, 76.4),
        "L2 pruning": (5.03, 70.3),
    },
}

STUDY_COPIES = {"RefrigerationDevices": (0, 375), "ElectricDevices": (208, 7711), "PLAID": (5, 537)}
"""Test series of the archive's files that are also in the training file, and all of them, as `tsc_lib.data` counts."""

CLASS_NAMES = {
    "ElectricDevices": {},
    "RefrigerationDevices": {"1": "fridge/freezer", "2": "refrigerator", "3": "upright freezer"},
    "PLAID": {
        "0": "air conditioner",
        "1": "compact fluor. lamp",
        "2": "fan",
        "3": "fridge",
        "4": "hairdryer",
        "5": "heater",
        "6": "incandescent bulb",
        "7": "laptop",
        "8": "microwave",
        "9": "vacuum",
        "10": "washing machine",
    },
}
"""What the archive says that the labels of the study's data sets stand for; it does not say for ElectricDevices."""

_TSML = "tsml-eval, commit b716654"
_ROCKET = "angus924/rocket, commit 36bd908"
_INCEPTION = "hfawaz/InceptionTime, commit 952d115"
_DL4TSC = "hfawaz/dl-4-tsc, commit e0233ef"
_FOUNDATION = "MSD-IRIMAS/DomainFoundationModelsTSC, commit 9090b27"
_LITE = "MSD-IRIMAS/LITE, commit ba4f3d5"
_FLATPFN = "the public report 'FlatPFN on UCR' (TabPFN 3)"

PUBLISHED_TRANSFORMERS = ("Encoder (conv. + attention)", "FlatPFN (pretrained)")
"""Those of the published methods whose network attends."""

# method, ElectricDevices, RefrigerationDevices, PLAID, version of PLAID, source of the row
_ACCURACIES = (
    ("1NN-DTW", 0.596, 0.464, None, "", _TSML),
    ("ROCKET", 0.729, 0.537, 0.903, "", _ROCKET),
    ("MiniROCKET", 0.742, 0.480, None, "", _TSML),
    ("MultiROCKET-Hydra", 0.742, 0.528, 0.944, "equal length", _TSML),
    ("HIVE-COTE 2", 0.761, 0.552, 0.892, "equal length", _TSML),
    ("InceptionTime", 0.724, 0.517, 0.944, "noise-padded", _INCEPTION),
    ("H-InceptionTime", 0.717, 0.520, 0.948, "", _FOUNDATION),
    ("ResNet", 0.728, 0.530, 0.940, "noise-padded", _DL4TSC),
    ("PHIT (pretrained)", 0.718, 0.571, 0.935, "", _FOUNDATION),
    ("LITETime", 0.703, 0.496, 0.920, "", _LITE),
    ("Encoder (conv. + attention)", 0.702, 0.461, 0.729, "noise-padded", _DL4TSC),
    ("FlatPFN (pretrained)", 0.707, 0.517, None, "", _FLATPFN),
    ("QUANT", 0.741, 0.568, 0.948, "equal length", _TSML),
    ("DrCIF", 0.736, 0.605, None, "", _TSML),
    ("RIST", 0.746, 0.611, None, "", _TSML),
    ("RDST", 0.750, 0.568, 0.920, "equal length", _TSML),
    ("MrSQM", 0.744, 0.608, None, "", _TSML),
    ("WEASEL 2", 0.764, 0.549, 0.905, "equal length", _TSML),
    ("TSFresh", 0.766, 0.560, None, "", _TSML),
    ("FreshPRINCE", 0.769, 0.600, 0.894, "equal length", _TSML),
)


def reference_accuracies() -> pd.DataFrame:
    """Published accuracies on the default split, in the archive's order of rows.

    Returns
    -------
    DataFrame
        Columns `dataset`, `method`, `accuracy` (share of the test set), `version` (of the data set: empty for the
        original; PLAID was also published padded to one length or padded with noise, which is another problem) and
        `source` (the public repository that holds the number).
    """
    rows = [
        {
            "dataset": dataset,
            "method": method,
            "accuracy": accuracy,
            "version": version if dataset == "PLAID" else "",
            "source": source,
        }
        for method, *accuracies, version, source in _ACCURACIES
        for dataset, accuracy in zip(STUDY_DATASETS, accuracies, strict=True)
        if accuracy is not None
    ]
    return pd.DataFrame(rows)


def earlier_report() -> pd.DataFrame:
    """The table of the authors' earlier report on UniMiB SHAR, which equates energy with time.

    Returns
    -------
    DataFrame
        Columns `model`, `strategy`, `seconds` (for the whole test set), `accuracy` (%), and against fp32 `saved` (% of
        the time) and `points_lost`.
    """
    rows = []
    for model, cells in _EARLIER.items():
        whole, right = cells["fp32"]
        for strategy, (seconds, accuracy) in cells.items():
            saved, lost = 100 * (1 - seconds / whole), right - accuracy
            rows.append((model, strategy, seconds, accuracy, saved, lost))
    return pd.DataFrame(rows, columns=["model", "strategy", "seconds", "accuracy", "saved", "points_lost"])


def best_published(dataset: str, *, transformers: bool = False) -> pd.Series | None:
    """The best row of `reference_accuracies` on a data set, of all or of transformers; None if there is none."""
    rows = reference_accuracies()
    rows = rows[(rows.dataset == dataset) & (rows.method.isin(PUBLISHED_TRANSFORMERS) | (not transformers))]
    return rows.loc[rows.accuracy.idxmax()] if len(rows) else None


def class_name(dataset: str, label: str) -> str:
    """What a label stands for, where that is known, else the label itself."""
    return CLASS_NAMES.get(dataset, {}).get(label, label)
