"""The machine under a session: its lock, its processors and what is recorded of it."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from filelock import FileLock, Timeout

from tsc_lib.core.cpus import CPUINFO, list_usable_cpus, read_cpu_quota, read_cpuinfo
from tsc_lib.core.spec import Spec

LIBRARIES = ("numpy", "torch", "torchao", "onnxruntime", "openvino", "aeon")

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""What numerical libraries read when they are loaded to size their thread pools."""

INSTRUCTIONS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
"""What decides, as Linux calls it, how fast a processor computes in each number format."""

ALLOCATOR = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}
"""Makes glibc keep the memory that it was given. Left alone it hands large tensors back after every call and gets them
again as zeroed pages; the page on measurement tells what that costs."""


@dataclass(frozen=True)
class Machine(Spec):
    """What decides, beside the program, how a model is compiled and how long a call of it takes.

    Attributes
    ----------
    cpu_model : str
        The processor, as `read_cpu_model` tells it.
    versions : dict of str to str
        The versions of `LIBRARIES`, of those that are installed.
    """

    cpu_model: str
    versions: dict[str, str]


@cache
def describe_machine() -> Machine:
    """This machine."""
    versions = {}
    for library in LIBRARIES:
        with suppress(PackageNotFoundError):
            versions[library] = version(library)
    return Machine(read_cpu_model(), versions)


def make_environment(threads: int) -> dict[str, str]:
    """Environment variables for a Python process on so many threads that imports what this one can."""
    path = os.pathsep.join(filter(None, sys.path))
    return dict(os.environ) | dict.fromkeys(THREAD_VARIABLES, str(threads)) | {"PYTHONPATH": path}


@contextmanager
def hold_host_lock(announce: Callable[[str], None]) -> Iterator[None]:
    """Hold this host's benchmark lock; if another process has it, announce which and wait.

    The operating system releases the lock when its holder ends, however that happens; the file itself stays, and every
    user of the machine may lock it.
    """
    path = Path(tempfile.gettempdir()) / "tsc_lib-benchmark.lock"
    lock = FileLock(path, mode=0o666, poll_interval=0.5, fallback_to_soft=False, on_acquired=_sign)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        holder = path.read_text().strip() or "unknown"
        announce(f"waiting for another benchmark on this host to end (process {holder}, lock {path})")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _sign(lock: int) -> None:
    """Write into a lock's file who holds it."""
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)


def pin(threads: int) -> None:
    """Bind every thread of this process to the last `threads` usable CPUs, where the system can.

    The last ones, because interrupts and daemons tend to the first.
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    cpus = list_usable_cpus()[-threads:]
    for task in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):  # a thread may have ended meanwhile
            os.sched_setaffinity(int(task.name), cpus)


@dataclass(frozen=True)
class Host:
    """Facts that are recorded beside measurements.

    Attributes
    ----------
    date : str
        When the session began, in UTC, as ISO 8601 has it.
    system, python, cpu_model : str
        Operating system with its C library, Python's version, and the processor as `read_cpu_model` tells it.
    cpus : int or None
        Processors that the system shows.
    cpus_usable, cpus_pinned : list of int
        Those that the process might use, and those on which it measured.
    cpu_quota : float or None
        CPUs' worth of time that its container may use, None where it is not limited.
    throttled_periods : int
        Periods of the session, of 100 ms mostly, in which the container was paused for want of quota; new kernels do
        not count them all.
    load_average : list of float
        Over 1, 5 and 15 minutes, when the session began.
    versions : dict of str to str
        See `Machine`.
    threads : int
        Threads of the measuring process.
    peak_rss_mb : float
        The most memory that it held.
    """

    date: str
    system: str
    cpus: int | None
    cpus_usable: list[int]
    load_average: list[float]
    python: str
    cpu_model: str
    versions: dict[str, str]
    threads: int = 1
    cpus_pinned: list[int] = field(default_factory=list)
    peak_rss_mb: float = 0.0
    cpu_quota: float | None = None
    throttled_periods: int = 0


def describe_host() -> Host:
    """What is known of this machine now, before anything is measured."""
    kernel = ".".join(platform.release().split(".")[:2])  # what follows is how somebody built it
    return Host(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        system=f"{platform.system()} {kernel}, {' '.join(filter(None, platform.libc_ver()))}",
        cpus=os.cpu_count(),
        cpus_usable=list_usable_cpus(),
        cpu_quota=read_cpu_quota(),
        load_average=list(os.getloadavg()),
        python=platform.python_version(),
        cpu_model=describe_machine().cpu_model,
        versions=describe_machine().versions,
    )


def describe_pauses(host: Host) -> str:
    """One sentence about the pauses that the container's CPU quota made in a session; empty if it made none."""
    if host.cpu_quota is None or (host.cpu_quota >= host.threads and not host.throttled_periods):
        return ""
    return (
        f"the container's CPU quota of {host.cpu_quota:g} CPUs paused the session: its wall times and latencies hold "
        "the pauses, its CPU times do not"
    )


def read_cpu_model(cpuinfo: Path = CPUINFO) -> str:
    """The processor's name as the system tells it, and which of `INSTRUCTIONS` it has; virtual machines hide the rest.

    Examples
    --------
    ``AMD EPYC (avx2, avx512f, avx512_vnni, avx512_bf16)``
    """
    told = read_cpuinfo(cpuinfo)
    name = told.get("model name") or platform.processor() or platform.machine()
    flags = told.get("flags", "").split()
    instructions = ", ".join(flag for flag in INSTRUCTIONS if flag in flags)
    return f"{name} ({instructions})" if instructions else name
