from __future__ import annotations

import fcntl
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tsc_lib.benchmark import BenchmarkSettings, Candidate, Role, Session, run_session, save_inputs
from tsc_lib.benchmark.host import read_cpu_model
from tsc_lib.benchmark.inputs import MOST_CALLS, load_inputs, make_calls
from tsc_lib.benchmark.session import follow
from tsc_lib.core.errors import UserError

pytestmark = pytest.mark.measures

HERE = Path(__file__)
TINY = BenchmarkSettings(batch_sizes=(1, 4), series=8, blocks=5, min_window_s=0.004, warmup_s=0.01)


# ---- loaders, called in the child


def load_burner(
    seconds: float = 0.0, fail: str = "", after: int = 0, log: str = ""
) -> Callable[..., np.ndarray[Any, Any]]:
    """A predictor that costs `seconds` of CPU per series and fails as told, after so many calls.

    `fail` may name a signal, as which `load_burner` ends its process at once, or a predictor after `after` calls.
    """
    calls = 0

    def predict(x: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray[Any, Any]:
        nonlocal calls
        calls += 1
        assert (lengths is None) or (lengths <= x.shape[2]).all()
        end = time.process_time() + seconds * len(x)
        while time.process_time() < end:
            pass
        if fail == "raise" and calls > after:
            raise ValueError("no\nluck")
        if fail.startswith("SIG") and calls > after:
            os.kill(os.getpid(), signal.Signals[fail])
        return np.full((len(x), 3 if fail == "shape" else 2), np.nan if fail == "nan" else 0.0)

    if fail == "load":
        raise UserError("the extra is missing; install it")
    if fail.startswith("SIG") and after == 0:
        os.kill(os.getpid(), signal.Signals[fail])
    if fail == "interrupt":
        with Path(log).open("a") as file:
            file.write("loaded\n")
        os.kill(os.getppid(), signal.SIGINT)
        time.sleep(60)
    print("libraries may print")
    return predict


def load_t1(repeat: int = 1) -> Callable[..., np.ndarray[Any, Any]]:
    """T1 with random weights, run `repeat` times per call."""
    import torch

    from tsc_lib.models.zoo import build

    torch.manual_seed(0)
    model = build("T1", 1, 7).eval()

    @torch.inference_mode()
    def predict(x: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray[Any, Any]:
        for _ in range(repeat):
            logits = model(torch.from_numpy(x))
        return logits.numpy()

    return predict


def candidate(name: str, **options: Any) -> Candidate:
    return Candidate(name, f"{HERE.stem}:load_burner", options)


# ---- fixtures


@pytest.fixture(autouse=True)
def own_host(tmp_path, monkeypatch):
    """A temporary folder of its own, so a lock of its own, and loaders that a child can import."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.syspath_prepend(HERE.parent)


@pytest.fixture
def inputs(tmp_path):
    path = tmp_path / "inputs.npz"
    save_inputs(path, [np.zeros((1, n)) for n in (9, 5, 7, 6, 8, 5)], equal_length=False, settings=TINY)
    return path


def lock_holder(folder: Path, seconds: float = 60) -> int:
    """Wait until a child holds the lock and return its process id."""
    path, end = folder / "tsc_lib-benchmark.lock", time.monotonic() + seconds
    while time.monotonic() < end:
        if path.exists() and (text := path.read_text().strip()) and not lock_is_free(folder):
            return int(text)
        time.sleep(0.02)
    raise AssertionError("no child took the lock")


def lock_is_free(folder: Path) -> bool:
    with (folder / "tsc_lib-benchmark.lock").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@pytest.fixture
def start_session(inputs) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts whole sessions in processes of their own, which end with the test."""
    started = []

    def start(**options: Any) -> subprocess.Popen[str]:
        code = (
            "from pathlib import Path; from tsc_lib.benchmark import *\n"
            f"reference = Candidate('reference', '{HERE.stem}:load_burner', {options!r})\n"
            "settings = BenchmarkSettings(batch_sizes=[1], blocks=5, warmup_s=0.0)\n"
            f"run_session(reference, [], Path({str(inputs)!r}), settings)"
        )
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        process = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


# ---- tests


def test_session_measures_reports_failures_and_keeps_everything(inputs, monkeypatch, capfd):
    monkeypatch.setenv("TSC_WATTS_PER_CORE", "5")
    candidates = [
        candidate("double", seconds=0.002),
        candidate("missing", fail="load"),
        candidate("broken", fail="raise"),
        candidate("breaks later", fail="raise", after=30),
        candidate("not finite", fail="nan"),
        candidate("other classes", fail="shape"),
        Candidate("no such loader", f"{HERE.stem}:absent"),
    ]
    session = run_session(candidate("reference", seconds=0.001), candidates, inputs, TINY)
    assert Session.from_json(json.loads(json.dumps(session.to_json(), allow_nan=False))) == session
    assert capfd.readouterr() == ("", "")  # quiet where nobody watches

    assert session.host.threads == 1
    assert len(session.host.cpus_pinned) == 1
    assert session.host.peak_rss_mb > 0 and {"numpy", "torch"} <= set(session.host.versions)
    assert session.energy["backend"] == "cputime"
    assert session.settings == TINY

    rows = {(row.batch_size, row.name): row for row in session.measurements}
    assert len(rows) == len(session.measurements) == 2 * 9
    for size in (1, 4):
        reference, control, double = (rows[size, name] for name in ("reference", "control", "double"))
        assert [row.role for row in (reference, control, double)] == [Role.REFERENCE, Role.CONTROL, Role.CANDIDATE]
        assert reference.cpu_ratio == reference.cpu_ratio_low == reference.cpu_ratio_high == 1
        assert control.cpu_ratio == pytest.approx(1, rel=0.1)
        assert double.cpu_ratio == pytest.approx(2, rel=0.1)
        assert double.cpu_ratio_low <= double.cpu_ratio <= double.cpu_ratio_high
        assert double.aa_ratio == control.cpu_ratio
        assert double.cpu_ms_per_sample == pytest.approx(2, rel=0.2)
        assert double.latency_p50_ms >= 2 * size * 0.99
        assert double.energy_mj_per_sample == pytest.approx(5 * double.cpu_ms_per_sample)
        assert double.energy_source == "estimated"
        calls = {1: 6, 4: 2}[size]  # six series, and two of them twice to fill two batches of four
        assert double.series_per_sweep == calls * size
        assert {len(values) for values in double.windows.values()} == {5}
        assert len(double.latency_ms) == 5 * double.sweeps * calls
        assert len(double.block_ratios) == 5
        positions = [tuple(rows[size, name].windows["position"]) for name in ("reference", "control", "double")]
        assert len(set(zip(*positions, strict=True))) > 1  # a fresh order in every block
        status = {name: rows[size, name].status for _, name in rows}
        assert status["double"] == "ok"
        assert status["missing"] == "failed: the extra is missing; install it"
        assert status["broken"] == "failed: ValueError: no luck"
        assert status["breaks later"] == "failed: ValueError: no luck"
        assert status["not finite"] == "failed: logits are not finite"
        assert status["other classes"].startswith("failed: logits have shape")
        assert status["no such loader"].startswith("failed: AttributeError")
        assert rows[size, "missing"].cpu_ratio is None


def test_t1_against_itself_and_twice_itself(tmp_path):
    path = tmp_path / "inputs.npz"
    save_inputs(path, np.random.default_rng(0).standard_normal((64, 1, 96)), equal_length=True)
    settings = BenchmarkSettings(batch_sizes=(64,), blocks=15, warmup_s=0.1)
    loader = f"{HERE.stem}:load_t1"
    session = run_session(Candidate("T1", loader), [Candidate("twice", loader, {"repeat": 2})], path, settings)
    _, control, twice = session.measurements
    # Wide bounds: other tests may share the machine; a session alone comes within 3 %.
    assert control.cpu_ratio == pytest.approx(1, abs=0.15)
    assert twice.cpu_ratio == pytest.approx(2, abs=0.4)
    assert session.host.versions["torch"]


def test_the_reference_is_measured_all_over_a_block_beside_its_control(inputs):
    settings = BenchmarkSettings(batch_sizes=(4,), blocks=5, min_window_s=0.0, warmup_s=0.0)
    session = run_session(candidate("reference"), [candidate(f"{i}") for i in range(12)], inputs, settings)
    reference, control, *others = session.measurements
    assert {len(row.windows["cpu_s"]) for row in others} == {5}
    assert {len(row.block_ratios) for row in session.measurements} == {5}
    places = np.array([row.windows["position"] for row in (reference, control)])
    assert places.shape == (2, 10)
    assert (abs(places[0] - places[1]) == 1).all()
    assert (places.min(axis=0).reshape(5, 2) == [0, 8]).all()
    means = [np.reshape(row.windows["cpu_s"], (5, 2)).mean(axis=1) for row in (reference, control)]
    assert control.block_ratios == pytest.approx(means[1] / means[0] * reference.sweeps / control.sweeps)


def test_time_limit_lowers_blocks_but_not_below_five(inputs):
    settings = BenchmarkSettings(batch_sizes=(4,), blocks=100, min_window_s=0.0, warmup_s=0.0, max_seconds=0.0)
    session = run_session(candidate("reference"), [], inputs, settings)
    assert {row.blocks for row in session.measurements} == {5}
    assert session.settings.blocks == 100


@pytest.mark.parametrize("fail", ["load", "raise", "nan"])
def test_a_failing_reference_fails_the_session(inputs, fail):
    with pytest.raises(UserError, match="the reference 'bad' failed: "):
        run_session(candidate("bad", fail=fail), [], inputs, TINY)


def test_a_candidate_that_crashes_is_left_out_and_the_others_are_measured(inputs, caplog):
    candidates = [
        candidate("at load", fail="SIGSEGV"),
        candidate("double", seconds=0.002),
        candidate("when tried", fail="SIGABRT", after=1),
        candidate("when warm", fail="SIGSEGV", after=30),
        candidate("out of memory", fail="SIGKILL"),
        candidate("broken", fail="raise"),
    ]
    session = run_session(candidate("reference", seconds=0.001), candidates, inputs, TINY)
    assert Session.from_json(json.loads(json.dumps(session.to_json(), allow_nan=False))) == session
    for size in (1, 4):
        rows = [row for row in session.measurements if row.batch_size == size]
        assert [row.name for row in rows] == ["reference", "control", *(c.name for c in candidates)]
        status = {row.name: row.status for row in rows}
        assert status["reference"] == status["control"] == status["double"] == "ok"
        assert status["at load"] == "failed: the process was ended by SIGSEGV while loading at load"
        assert (
            status["when tried"] == "failed: the process was ended by SIGABRT while trying when tried at batch size 1"
        )
        assert "ended by SIGSEGV while " in status["when warm"] and "when warm at batch size" in status["when warm"]
        assert status["out of memory"] == "failed: the process was ended by SIGKILL while loading out of memory"
        assert status["broken"] == "failed: ValueError: no luck"
        double = rows[3]
        assert double.cpu_ratio == pytest.approx(2, rel=0.1) and len(double.block_ratios) == 5
    assert caplog.text.count("the session starts again without it") == 4


@pytest.mark.parametrize("after", [0, 1, 40])
def test_a_reference_that_crashes_is_one_clear_sentence(inputs, after):
    with pytest.raises(UserError, match=r"ended by SIGSEGV \(while .*(reference|control).*\).*run it again"):
        run_session(candidate("reference", fail="SIGSEGV", after=after), [candidate("b")], inputs, TINY)


def test_a_child_that_is_asked_to_stop_is_not_started_again(inputs):
    with pytest.raises(UserError, match=r"ended by SIGTERM \(while loading stopped\)"):
        run_session(candidate("reference"), [candidate("stopped", fail="SIGTERM")], inputs, TINY)


def test_an_interrupted_session_is_not_started_again(inputs, tmp_path):
    log = tmp_path / "log"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore the signal
    try:
        with pytest.raises(KeyboardInterrupt):
            run_session(candidate("reference"), [candidate("b", fail="interrupt", log=str(log))], inputs, TINY)
    finally:
        signal.signal(signal.SIGINT, before)
    assert log.read_text() == "loaded\n"
    assert lock_is_free(tmp_path)


def test_a_child_that_fails_by_itself_says_why(tmp_path):
    with pytest.raises(UserError, match=r"process failed \(while starting\): FileNotFoundError: .*absent.npz"):
        run_session(candidate("reference"), [], tmp_path / "absent.npz", TINY)


def test_half_an_answer_is_the_end_of_a_child():
    begun = {"event": "progress", "stage": "batch 1", "done": 0, "total": 5, "name": "", "doing": "measuring"}
    answers = io.StringIO(json.dumps(begun) + '\n{"event": "result", "result": {"hos')
    assert follow(answers) == (None, "measuring", "")


def test_killing_the_child_from_outside(inputs, tmp_path):
    threading.Thread(target=lambda: os.kill(lock_holder(tmp_path), signal.SIGKILL)).start()
    with pytest.raises(UserError, match="ended by SIGKILL"):
        run_session(candidate("reference", seconds=0.5), [], inputs, TINY)
    assert lock_is_free(tmp_path)


def test_killing_the_parent_ends_the_child_and_frees_the_lock(start_session, tmp_path):
    parent = start_session(seconds=0.5)
    child = lock_holder(tmp_path)
    assert child != parent.pid
    parent.kill()
    end = time.monotonic() + 10
    while not lock_is_free(tmp_path):
        assert time.monotonic() < end, "the child outlived its parent"
        time.sleep(0.02)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inputs.npz", "tsc_lib-benchmark.lock"]


def test_a_second_session_says_whom_it_waits_for(start_session, tmp_path):
    first = start_session(seconds=0.5)
    holder = lock_holder(tmp_path)
    second = start_session(seconds=0.001)
    assert second.stderr
    said = second.stderr.readline()
    assert f"process {holder}" in said
    assert "waiting for another benchmark" in said
    first.kill()  # its lock must not survive it
    assert second.wait(timeout=60) == 0


def test_bad_requests(inputs):
    with pytest.raises(UserError, match="different names"):
        run_session(candidate("a"), [candidate("a")], inputs, TINY)
    with pytest.raises(UserError, match="different names"):
        run_session(candidate("a"), [candidate("control")], inputs, TINY)
    with pytest.raises(UserError, match="lower 'threads'"):
        run_session(candidate("a"), [], inputs, BenchmarkSettings(threads=1024))
    with pytest.raises(UserError, match="setting 'threads' must be a whole number from 1 to 1,024"):
        BenchmarkSettings(threads=10_000)
    for wrong in ({"blocks": 2}, {"threads": 0}, {"batch_sizes": ()}, {"batch_sizes": (0,)}, {"min_window_s": -1.0}):
        with pytest.raises(UserError, match="benchmark setting"):
            BenchmarkSettings(**wrong)
    assert BenchmarkSettings(batch_sizes=[1, 2]).batch_sizes == (1, 2)


def test_inputs_round_trip_and_batches(tmp_path):
    path, rng = tmp_path / "inputs.npz", np.random.default_rng(0)
    series = [rng.standard_normal((2, n)) for n in rng.permutation(np.arange(10, 110))]
    save_inputs(path, series, equal_length=False, settings=BenchmarkSettings(series=20))
    loaded, equal_length = load_inputs(path)
    assert not equal_length
    assert [x.shape[1] for x in loaded] == list(range(12, 110, 5))  # evenly over the lengths
    assert loaded[0].dtype == np.float32

    one, *_ = calls = make_calls(loaded, equal_length, 1)
    assert len(calls) == MOST_CALLS
    assert one.lengths is not None
    assert one.lengths[0] == one.x.shape[2]
    (large,) = make_calls(loaded, equal_length, 32)
    assert large.x.shape == (32, 2, 107)
    assert large.lengths is not None
    for x, length in zip(large.x, large.lengths, strict=True):
        assert not x[:, length:].any()
        assert x[:, length - 1].all()
    assert [len(call.x) for call in make_calls(loaded, equal_length, 16)] == [16, 16]
    assert make_calls([x[:, :10] for x in loaded], True, 4)[0].lengths is None
    with pytest.raises(UserError, match="empty"):
        save_inputs(path, [], equal_length=True)


def test_processors_of_one_name_are_told_apart_by_their_instructions(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("model name\t: AMD EPYC\nflags\t\t: fpu avx512_vnni avx2 sse2\n\nmodel name\t: another\n")
    assert read_cpu_model(cpuinfo) == "AMD EPYC (avx2, avx512_vnni)"
    cpuinfo.write_text("model name\t: AMD EPYC\nflags\t\t: fpu\n")
    assert read_cpu_model(cpuinfo) == "AMD EPYC"
    assert read_cpu_model(tmp_path / "absent")
