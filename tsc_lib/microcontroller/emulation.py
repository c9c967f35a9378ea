"""A folder with a model's C code becomes a whole program for a microcontroller, which QEMU executes.

The program has no operating system. It reads series from a file of this machine and writes logits to another, through
Arm's semihosting, which QEMU offers: what the code may do there, its author may do on this machine.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tsc_lib.core.errors import RuntimeUnavailable, UserError, shorten
from tsc_lib.core.limits import quote
from tsc_lib.microcontroller.boards import PROCESSORS, Processor

COMPILER, SIZE, EMULATOR = "arm-none-eabi-gcc", "arm-none-eabi-size", "qemu-system-arm"

CROSS = "gcc-arm-none-eabi libnewlib-arm-none-eabi"
PACKAGES = {COMPILER: CROSS, SIZE: CROSS, EMULATOR: "qemu-system-arm"}
"""Debian packages with the tools; the compiler needs a C library."""

OPTIONS = (
    *("-std=c99", "-O2", "-DMODEL_SMALL", "-mthumb", "-ffunction-sections", "-fdata-sections"),
    *("-fno-math-errno", "-fno-trapping-math", "-nostartfiles", "-Wl,--gc-sections"),
)

SMALL, PRINTING = "--specs=nano.specs", "--specs=rdimon.specs"
"""Of newlib: what is small, and what prints through semihosting."""

SCALING, TEST = "preprocess.c", "test.c"
"""Beside the model in a folder that was exported."""

LONGEST_S = 600.0
"""Seconds after which an imitated program that has not ended is taken for one that never will."""

REASONS = {
    2: "the processor stopped at a fault, such as a stack that does not fit into its RAM",
    3: "a file could not be opened",
    4: "a file was shorter than it said",
    5: "a series is longer than the model takes",
    6: "its test fails",
    7: "the model refuses a series",
}
"""What the program's exit codes mean."""

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Footprint:
    """What a whole program with the model takes of a microcontroller's memory.

    Attributes
    ----------
    flash_bytes : int
        Code and constants, with what the program needs of the C library, and initial values of variables.
    static_bytes : int
        RAM of variables, with one series and its logits.
    """

    flash_bytes: int
    static_bytes: int


@dataclass(frozen=True)
class Emulation:
    """What an imitated microcontroller did with some series.

    Attributes
    ----------
    footprint : Footprint
        Of the program.
    stack_bytes : int
        The most that was on the stack at once.
    logits : ndarray of float32, shape (n, classes)
        Of each series.
    instructions : tuple of int
        Executed for each series, the same however often they are counted; to about `Processor.tick_ns`.
    """

    footprint: Footprint
    stack_bytes: int
    logits: np.ndarray
    instructions: tuple[int, ...]

    @property
    def ram_bytes(self) -> int:
        """All the RAM that was used."""
        return self.footprint.static_bytes + self.stack_bytes


def find_processor(name: str) -> Processor:
    """A processor by its name.

    Raises
    ------
    UserError
        If there is none.
    """
    if name not in PROCESSORS:
        raise UserError(f"unknown processor {quote(name)}; the processors are {', '.join(PROCESSORS)}")
    return PROCESSORS[name]


def find_missing() -> str:
    """What this machine lacks to compile for microcontrollers and to imitate them, in a sentence; empty if nothing."""
    missing = [tool for tool in PACKAGES if shutil.which(tool) is None]
    packages = " ".join(dict.fromkeys(PACKAGES[tool] for tool in missing))
    if not missing and not _has_library():
        missing, packages = [f"the C library of {COMPILER}"], CROSS
    return f"{missing[0]} is not installed; Debian has it: apt-get install {packages}" if missing else ""


def _has_library() -> bool:
    """Whether the compiler finds a C library."""
    return Path(_run([COMPILER, "-print-file-name=nano.specs"]).strip()).is_absolute()


def describe_tools() -> dict[str, str]:
    """The first line of what each tool says of its version."""
    return {tool: _run([tool, "--version"]).splitlines()[0] for tool in (COMPILER, EMULATOR)}


def emulate(folder: Path, series: Sequence[np.ndarray], processor: Processor) -> Emulation:
    """Compile the model of a folder for a processor, and classify series on the imitated board.

    Parameters
    ----------
    folder : Path
        With ``model.h`` and C files. The code may do on this machine what this process may.
    series : sequence of ndarray
        Each float32 (channels, length); scaled, unless the folder has `SCALING`. At least one.
    processor : Processor
        For which to compile.

    Raises
    ------
    RuntimeUnavailable
        If a tool is not installed; `find_missing` says which.
    UserError
        If the folder holds no such code, it does not compile, or the program does not fit or fails.
    """
    with tempfile.TemporaryDirectory(prefix="tsc_lib-") as scratch:
        program = Path(scratch) / "program.elf"
        options = ["-DWITH_SCALING"] if (folder / SCALING).is_file() else []
        footprint = _build(folder, processor, program, [SMALL, *options])
        content = np.int32(len(series)).tobytes()
        for each in series:
            content += np.int32(each.shape[1]).tobytes() + np.ascontiguousarray(each, np.float32).tobytes()
        (program.parent / "series.bin").write_bytes(content)
        _execute(program, processor)
        answers = (program.parent / "answers.bin").read_bytes()
    row = np.dtype([("logits", "<f4", (_read_macro(folder, "MODEL_CLASSES"),)), ("ticks", "<u8")])
    rows = np.frombuffer(answers[: row.itemsize * len(series)], row)
    [stack] = np.frombuffer(answers[row.itemsize * len(series) :], "<u4")
    instructions = tuple(round(ticks * processor.tick_ns) for ticks in rows["ticks"].tolist())
    return Emulation(footprint, int(stack), rows["logits"].copy(), instructions)


def run_test(folder: Path, processor: Processor) -> str:
    """Compile and run an exported folder's own test on the imitated board; returns what it prints.

    Raises
    ------
    RuntimeUnavailable, UserError
        As `emulate`, or if the test fails.
    """
    with tempfile.TemporaryDirectory(prefix="tsc_lib-") as scratch:
        program = Path(scratch) / "program.elf"
        _build(folder, processor, program, [PRINTING, "-DRUN_TESTS"], test=True)
        return _execute(program, processor).strip()


def _build(
    folder: Path, processor: Processor, program: Path, options: Sequence[str], *, test: bool = False
) -> Footprint:
    if missing := find_missing():
        raise RuntimeUnavailable(missing)
    folder = folder.resolve()  # a name may begin with a dash
    sources = sorted(path for path in folder.glob("*.c") if test or path.name != TEST)
    if not sources or not (folder / "model.h").is_file():
        raise UserError(f"{folder} has no model.h and C code; name a folder that was exported for the runtime c")
    places = {
        "flash_origin": 0,
        "flash_length": 1024 * processor.flash_kb,
        "ram_origin": 0x20000000,
        "ram_length": 1024 * processor.ram_kb,
    }
    command = [COMPILER, *OPTIONS, *options, f"-mcpu={processor.name}", *processor.options, f"-I{folder}"]
    command += [str(_HERE / "harness.c"), *map(str, sources), "-lm", "-T", str(_HERE / "memory.ld")]
    command += [f"-Wl,--defsym={name}={value}" for name, value in places.items()]
    try:
        _run([*command, "-o", str(program)])
    except subprocess.CalledProcessError as error:
        if full := re.search(r"region `(\w+)' overflowed by (\d+) bytes", error.stderr):
            memory, room = {"FLASH": ("flash", processor.flash_kb), "RAM": ("RAM", processor.ram_kb)}[full[1]]
            raise UserError(
                f"the program is {int(full[2]) / 1024:.0f} kB larger than the {room} kB of {memory} of "
                f"{processor.machine}, the board with {processor.name}"
            ) from None
        raise UserError(f"{folder} cannot be compiled for {processor.name}: {_find_fault(error.stderr)}") from None
    text, data, bss = map(int, _run([SIZE, str(program)]).splitlines()[1].split()[:3])
    return Footprint(text + data, data + bss)


def _find_fault(said: str) -> str:
    """The line of a compiler's or linker's messages that says what is wrong."""
    lines = said.strip().splitlines() or ["the compiler does not say why"]
    return next((line for line in lines if "error" in line), lines[-1])


def _execute(program: Path, processor: Processor) -> str:
    """Execute a program in its folder; returns what it prints."""
    command = [EMULATOR, "-machine", processor.machine, "-kernel", program.name, "-icount", "shift=0"]
    command += ["-nographic", "-monitor", "none", "-serial", "none", "-semihosting-config", "enable=on,target=native"]
    try:
        return _run(command, program.parent)
    except subprocess.CalledProcessError as error:
        code = 2 if "Lockup" in error.stderr else error.returncode  # of a fault within a fault
        reason = REASONS.get(code, f"{EMULATOR} says: {shorten(RuntimeError(error.stderr))}")
        said = f" ({shorten(RuntimeError(error.stdout))})" if code == 6 else ""
        raise UserError(f"the model failed on the imitated {processor.name}: {reason}{said}") from None
    except subprocess.TimeoutExpired:
        raise UserError(
            f"the imitated {processor.name} was not done after {LONGEST_S:.0f} s; give fewer series, or a smaller model"
        ) from None


def _read_macro(folder: Path, name: str) -> int:
    """A number that ``model.h`` defines."""
    found = re.search(rf"^#define\s+{name}\s+(\d+)", (folder / "model.h").read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise UserError(f"{folder / 'model.h'} does not define {name}; export the model again")
    return int(found[1])


def _run(command: list[str], folder: Path | None = None) -> str:
    """What a tool prints."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=LONGEST_S)
    return done.stdout
