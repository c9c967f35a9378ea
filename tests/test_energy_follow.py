"""What one counter may do between two readings, told by a clock of our own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tsc_lib.energy import follow
from tsc_lib.energy.follow import Counter, CounterFile, Follower


@pytest.fixture
def counter(tmp_path: Path) -> Counter:
    """One that reads 1 J at second 10, wraps at 10 J and may draw 100 W."""
    (tmp_path / "energy_uj").write_text("1000000")
    counter = Counter("package-0", str(tmp_path / "energy_uj"), 10_000_000, 0.001, 100.0)
    counter.advance(10.0)
    assert counter.fault is None and counter.total_uj == 0
    return counter


def write(tmp_path: Path, value: int) -> None:
    with (tmp_path / "energy_uj").open("r+") as file:
        file.write(f"{value:08d}")
        file.truncate()


def test_gains_add_up_across_wraps(tmp_path: Path, counter: Counter):
    for step, value in enumerate((5_000_000, 9_900_000, 100_000, 5_000_000), 1):
        write(tmp_path, value)
        counter.advance(10 + 0.06 * step)
        assert counter.fault is None
    assert counter.total_uj == 14_000_000


@pytest.mark.parametrize(
    ("now", "value", "why"),
    [
        (10.001, 1_500_000, "jumped from 1000000 to 1500000"),
        (10.05, 999_999, "jumped from 1000000 to 999999"),
        (9.0, 1_000_001, "clock went back by 1.000 s"),
        (10.12, 1_000_000, "wrapped unseen"),  # none, or ten joules
        (10.25, 3_000_000, "wrapped unseen"),  # two joules, or twelve, or twenty-two
    ],
)
def test_what_no_counter_of_energy_does_is_a_fault(tmp_path: Path, counter: Counter, now: float, value: int, why: str):
    write(tmp_path, value)
    counter.advance(now)
    assert why in (counter.fault or "") and counter.total_uj == 0
    write(tmp_path, value + 1000)
    counter.advance(now + 0.001)  # it begins anew
    assert counter.fault is None and counter.total_uj == 0


def test_leave_to_read_that_is_taken_away_is_a_fault(counter: Counter, monkeypatch: pytest.MonkeyPatch):
    def refuse(self: CounterFile) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(CounterFile, "energy_uj", refuse)
    counter.advance(10.001)
    assert counter.fault == "package-0 cannot be read: [Errno 13] Permission denied"


def test_a_window_that_begins_in_a_fault_is_invalid_and_the_next_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(follow.time, "monotonic", lambda: clock)
    clock = 10.0
    path = tmp_path / "energy_uj"
    follower = Follower([Counter("package-0", str(path), 10_000_000, 0.001, 100.0)])
    follower.start("1")
    path.write_text("1000000")
    clock = 10.001
    follower.stop("1")
    answer = follower.close()
    assert answer is not None and "cannot be read" in answer["fault"]
    clock = 20.0
    write(tmp_path, 7_000_000)  # of the time between
    follower.start("2")
    clock = 20.01
    write(tmp_path, 7_500_000)
    follower.stop("2")
    assert follower.close() is None  # a counter vouches for a window by moving once more
    clock = 20.02
    write(tmp_path, 8_000_000)
    follower.advance()
    assert follower.close() == {"gained_uj": (500_000,), "last_uj": (7_500_000,), "fault": None}
