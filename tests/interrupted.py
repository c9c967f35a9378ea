"""Work that is interrupted on its way, for tests of what is left of it and of what goes on from there."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tsc_lib.compress import TrainingContext, apply
from tsc_lib.models.compressed import CompressedModel
from tsc_lib.training import loop


def resumed(
    model: CompressedModel, recipe: str, context: TrainingContext, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> CompressedModel:
    """The result of a recipe that was killed once its checkpoint held two epochs, and called again."""
    write = loop.save_checkpoint

    def killed(path, parts, best, optimizer, history):
        write(path, parts, best, optimizer, history)
        if len(history) == 2:
            raise KeyboardInterrupt

    saved = dataclasses.replace(context, folder=folder)
    monkeypatch.setattr(loop, "save_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        apply(model, recipe, saved)
    monkeypatch.undo()
    return apply(model, recipe, saved)


class Command:
    """A command in a process group of its own, with folders of its own for temporary files, Jupyter's and outputs."""

    PATIENCE_S = 60.0

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self.temporary, self.runtime, self.outputs = (folder / name for name in ("tmp", "runtime", "outputs"))
        for path in (self.temporary, self.runtime):
            path.mkdir(parents=True, exist_ok=True)
        own = {"TMPDIR": self.temporary, "JUPYTER_RUNTIME_DIR": self.runtime, "TSC_OUTPUTS": self.outputs}
        # PyTorch keeps what it compiled in the folder for temporary files, unless told where.
        own["TORCHINDUCTOR_CACHE_DIR"] = folder / "inductor"
        path = os.pathsep.join(filter(None, sys.path))
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            env={**os.environ, "PYTHONPATH": path, **{name: str(value) for name, value in own.items()}, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # What starts the tests may ignore it, and that is inherited.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def wait_for(self, seen: Callable[[], object]) -> None:
        """Wait until something is there."""
        end = time.monotonic() + self.PATIENCE_S
        while not seen():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < end, "it did not come"
            time.sleep(0.02)

    def wait_for_file(self, pattern: str) -> None:
        """Wait until a file is in the outputs."""
        self.wait_for(lambda: next(self.outputs.glob(pattern), None))

    def stop(self, number: signal.Signals, to_group: bool) -> str:
        """Send a signal to the process alone or to its group, check that all has ended; returns what it printed."""
        (os.killpg if to_group else os.kill)(self.process.pid, number)
        _, said = self.process.communicate(timeout=self.PATIENCE_S)
        assert self.list_processes() == []
        assert self.process.returncode == 128 + number, said
        assert "Traceback" not in said and said.count(f"{number.name}: stopped") == 1, said
        assert said.splitlines()[-1] == f"{number.name}: stopped; run the same again to go on", said
        left = [path.name for folder in (self.temporary, self.runtime) for path in folder.iterdir()]
        assert set(left) <= {"tsc_lib-benchmark.lock", ".ses"}, left  # the last is ONNX Runtime's
        return said

    def list_processes(self) -> list[str]:
        """The processes that have this command's environment, and have not ended."""
        mark, found = f"TMPDIR={self.temporary}".encode(), []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "cmdline").read_bytes()
                if command and mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(command.decode(errors="replace"))
            except OSError:
                continue
        return found
