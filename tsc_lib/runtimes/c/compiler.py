"""The machine's C compiler: programs made into libraries, and how much flash, memory and stack they take."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tsc_lib.core.errors import RuntimeUnavailable, shorten
from tsc_lib.core.files import write_bytes

PROGRAM, HEADER = "model.c", "model.h"

SIMPLE = ("-std=c99", "-O2", "-fPIC")
FAST = ("-std=c99", "-O3", "-fPIC", "-march=native", "-ffast-math")
"""For an object alone: linked with -ffast-math, a library would switch denormal numbers off in the whole process."""

UNROLLED = ("-funroll-loops", "-fvariable-expansion-in-unroller", "--param", "max-variable-expansions-in-unroller=4")
"""GCC's words for several sums side by side in the loop of a product, where each addition waits for the last."""

FRUGAL = ("-std=c99", "-O2", "-DMODEL_SMALL")
"""What sizes are stated for."""

SECONDS = 600


@dataclass(frozen=True)
class CompiledSize:
    """What a program takes on this machine beside the caller's workspace, compiled with `FRUGAL`, in bytes.

    Attributes
    ----------
    flash : int
        Code, weights and constants.
    stack : int, optional
        The deepest chain of its functions, those of the C library not counted; None where the compiler does not tell.
    """

    flash: int
    stack: int | None


def find_compiler() -> str:
    """The compiler that the variable CC names, or the machine's.

    Raises
    ------
    RuntimeUnavailable
        If there is none.
    """
    named = os.environ.get("CC", "").strip()
    for name in (named,) if named else ("cc", "gcc", "clang"):
        if found := shutil.which(name):
            return found
    what = f"the C compiler {named!r} that CC names" if named else "a C compiler"
    raise RuntimeUnavailable(f"c needs {what}, which is not there; install gcc or clang, or name another in CC")


def has_compiler() -> bool:
    """Whether there is one."""
    try:
        return bool(find_compiler())
    except RuntimeUnavailable:
        return False


def name_library() -> str:
    """The name of the library for this kind of processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        kinds = sorted({line for line in lines if line.startswith(("flags", "Features"))})
    except OSError:
        kinds = []
    digest = hashlib.sha256("\n".join([platform.system(), platform.machine(), *kinds]).encode()).hexdigest()
    return f"model-{digest[:12]}.so"


def compile_library(folder: Path, target: Path) -> None:
    """Compile the program in `folder` into the shared library `target`, for this processor.

    Raises
    ------
    RuntimeUnavailable
        If there is no compiler, or it fails.
    """
    compiler = find_compiler()
    with tempfile.TemporaryDirectory() as scratch:
        made, library = Path(scratch) / "model.o", Path(scratch) / "model.so"
        source = folder / PROGRAM
        for flags in ((*FAST, *UNROLLED), FAST):
            if _succeeds([compiler, *flags, "-c", str(source), "-o", str(made)]):
                break
        else:
            _run([compiler, *SIMPLE, "-c", str(source), "-o", str(made)])
        _run([compiler, "-shared", str(made), "-o", str(library), "-lm"])
        write_bytes(target, library.read_bytes())  # a new file: the old one may be loaded


def measure_size(folder: Path) -> CompiledSize:
    """What the program in `folder` takes, compiled with `FRUGAL`."""
    compiler = find_compiler()
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "model.o"
        _run([compiler, *FRUGAL, "-fstack-usage", "-c", str(folder / PROGRAM), "-o", str(made)])
        sizes = _run(["size", str(made)]).splitlines()[1].split()
        usage = made.with_suffix(".su")
        frames = _read_frames(usage.read_text()) if usage.exists() else {}
    text, data = int(sizes[0]), int(sizes[1])
    stack = None
    if frames:
        # `model_logits` calls stages, and what calls stages for all blocks.
        outer = {name: size for name, size in frames.items() if name.endswith("_all")}
        inner = {name: size for name, size in frames.items() if name not in outer and name != "model_logits"}
        stack = frames["model_logits"] + max(outer.values(), default=0) + max(inner.values(), default=0)
    return CompiledSize(flash=text + data, stack=stack)


def _read_frames(usage: str) -> dict[str, int]:
    """Bytes of every function's frame, from what -fstack-usage writes."""
    return {name: int(size) for name, size in re.findall(r"(\w+)\t(\d+)\t", usage)}


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, timeout=SECONDS).returncode == 0


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    except FileNotFoundError:
        raise RuntimeUnavailable(f"c needs {command[0]}, which is not installed; install gcc with binutils") from None
    except subprocess.TimeoutExpired:
        raise RuntimeUnavailable(f"{command[0]} did not compile the model within {SECONDS} s") from None
    except subprocess.CalledProcessError as error:
        said = next((line for line in error.stderr.splitlines() if "error" in line), error.stderr)
        raise RuntimeUnavailable(f"{command[0]} cannot compile the model ({shorten(Exception(said))})") from None
    return done.stdout
