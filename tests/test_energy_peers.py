"""What pyRAPL and CodeCarbon read of a faulty powercap tree beside us: we are right, or say that we are not."""

from __future__ import annotations

from importlib.util import find_spec

import energy_peers
import pytest
from energy_peers import CASES, compare

pytestmark = pytest.mark.measures

WINDOW_S = 2.0

PEERS = {"pyRAPL": "pyRAPL", "CodeCarbon": "codecarbon"}
"""Packages, which are not imported here: pyRAPL configures the root logger."""


@pytest.mark.parametrize("case", ["no fault", "a jump of 2 J", "two dies that show one counter"])
def test_ours_is_right_or_says_why_not(case: str) -> None:
    if isinstance(refused := energy_peers.namespace(), str):
        pytest.skip(refused)
    missing = [peer for peer, package in PEERS.items() if find_spec(package) is None]
    answers = compare(CASES[case], ["tsc_lib", *(peer for peer in PEERS if peer not in missing)], WINDOW_S)
    ours, packages, memory = answers.pop("tsc_lib"), CASES[case].package_watts, CASES[case].dram_watts
    if CASES[case].fault:
        assert ours["joules"] is None and "package-0 jumped" in ours["said"]
    else:
        assert ours["joules"] == pytest.approx(WINDOW_S * (packages + memory), rel=0.02), ours["said"]
    for peer, answer in answers.items():
        if case == "no fault":
            theirs = WINDOW_S * (packages + memory if peer == "pyRAPL" else packages)  # CodeCarbon counts no memory
            assert answer["joules"] == pytest.approx(theirs, rel=0.1)
    if missing:
        pytest.skip(f"not compared with {' and '.join(missing)}: not installed")
