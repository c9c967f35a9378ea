"""Output that nobody takes is a failure, and a terminal without all characters is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PRINT = "import sys; from tsc_lib.core.errors import run_command; sys.exit(run_command(print, {}))"
COMMANDS = {
    "little": ["-c", PRINT.format("'x'")],
    "much": ["-c", PRINT.format("'x' * 10**6")],
    "help": ["-m", "tsc_lib", "--help"],
    "version": ["-m", "tsc_lib", "--version"],
    "help of a command": ["-m", "tsc_lib", "predict", "--help"],
}


def run(arguments: list[str], redirection: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a shell, which redirects what it prints."""
    variables = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    command = ["bash", "-c", f'set -o pipefail; "$@" {redirection}', "bash", sys.executable, *arguments]
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60)


def again(arguments: list[str]) -> str:
    """The code that does what Python does with arguments."""
    if arguments[0] == "-c":
        return arguments[1]
    return f"sys.argv = {arguments[1:]}; runpy.run_module({arguments[1]!r}, run_name='__main__')"


@pytest.mark.parametrize("buffered", ["", "1"])
@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(
    ("redirection", "said"),
    [
        (">&-", "error: standard output is closed; leave it open, or send it to /dev/null"),
        (">/dev/full", "error: the output cannot be written (No space left on device); free some space, or name a "),
        ("| true", "error: the output cannot be written (Broken pipe); let its reader read to the end"),
    ],
)
def test_output_that_nobody_takes_is_one_sentence(redirection: str, said: str, name: str, buffered: str) -> None:
    arguments = COMMANDS[name]
    if redirection == "| true":  # begin only once the reader has left
        arguments = ["-c", f"import time; time.sleep(0.3); import runpy, sys; {again(arguments)}"]
    done = run(arguments, redirection, PYTHONUNBUFFERED=buffered)
    [line] = done.stderr.splitlines()
    assert done.returncode == 1 and line.startswith(said)


def test_a_closed_standard_error_gets_into_no_file(tmp_path: Path) -> None:
    code = (
        "import os, sys; file = open(sys.argv[1], 'wb'); os.write(2, b'a message of a library'); print(file.fileno())"
    )
    script = f"from tsc_lib.core.errors import run_command; run_command(exec, {code!r})"
    done = run(["-c", script, str(tmp_path / "file")], "2>&-")
    assert done.returncode == 0 and int(done.stdout) > 2
    assert (tmp_path / "file").read_bytes() == b""


@pytest.mark.parametrize("setting", [{"PYTHONIOENCODING": "ascii"}, {"PYTHONUTF8": "0", "LC_ALL": "C"}])
def test_a_terminal_without_a_character_shows_its_number(setting: dict[str, str]) -> None:
    done = run(["-c", PRINT.format(r"'0.3 \u00b1 0.1, \udcff'")], PYTHONCOERCECLOCALE="0", **setting)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout in ("0.3 \\xb1 0.1, \\udcff\n", "0.3 \\xb1 0.1, \udcff\n")


def test_a_label_is_not_printed_as_another_one() -> None:
    script = "import sys; from tsc_lib import cli; from tsc_lib.core.errors import run_command; "
    script += r"sys.exit(run_command(cli._write, None, 'series,label\n1,caf\u00e9', 1))"
    done = run(["-c", script], PYTHONIOENCODING="ascii")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith(r"error: standard output takes ascii alone, not '\xe9'; set PYTHONIOENCODING=utf-8")
    assert run(["-c", script], PYTHONIOENCODING="utf-8").stdout == "series,label\n1,café\n"


def test_a_lack_of_memory_is_one_sentence() -> None:
    code = "import sys; from tsc_lib.core.errors import run_command; sys.exit(run_command(bytes, 10**15))"
    done = run(["-c", code])
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("error: the memory for this process is too small")


def test_outputs_in_the_home_of_nobody_are_one_sentence() -> None:
    done = run(["-m", "tsc_lib", "results", "--profile", "smoke"], TSC_OUTPUTS="~nosuchuser/outputs")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("error: nobody's home folder is ~nosuchuser")
