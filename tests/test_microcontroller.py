"""A program for a microcontroller does on the imitated boards what it says, and is measured as it is."""

from __future__ import annotations

from pathlib import Path

import exported
import numpy as np
import pytest
import torch

from tsc_lib import cli
from tsc_lib.core.errors import RuntimeUnavailable, UserError
from tsc_lib.export.bundle import Bundle
from tsc_lib.export.write import write as write_export
from tsc_lib.microcontroller import PROCESSORS, Device, emulate, find_missing, find_processor, run_test
from tsc_lib.models.compressed import CompressedModel
from tsc_lib.models.convolution_embedding import ConvolutionEmbeddingConfig
from tsc_lib.models.number_format import NumberFormat
from tsc_lib.models.transformer import LayerConfig, Transformer, TransformerConfig
from tsc_lib.runtimes import convert
from tsc_lib.series.scaling import Scaler

needs_tools = pytest.mark.skipif(bool(find_missing()), reason=find_missing() or "never")

HEADER = """
#define MODEL_CHANNELS 2
#define MODEL_LENGTH 8
#define MODEL_CLASSES 3
#define MODEL_WORKSPACE_BYTES 128
void model_logits(const float *scaled, int length, float *logits, float *workspace);
int model_classify(const float *series, int length, float *logits, float *workspace);
"""

MODEL = """
#include <math.h>
#include "model.h"
static const volatile float weights[3] = {0.5f, -1.0f, 2.0f};
void model_logits(const float *series, int length, float *logits, float *workspace)
{
    (void)workspace;
    float sum = 0;
    for (int i = 0; i < MODEL_CHANNELS * length; i++)
        sum += series[i];
    for (int i = 0; i < MODEL_CLASSES; i++)
        logits[i] = expf(weights[i] * sum);
}
"""

LOOP = """
#include "model.h"
void model_logits(const float *series, int length, float *logits, float *workspace)
{
    (void)workspace;
    int turns = 1000 * length;
    (void)series;
    __asm__ volatile("1: subs %0, %0, #1\\n bne 1b" : "+r"(turns) : : "cc");
    for (int i = 0; i < MODEL_CLASSES; i++)
        logits[i] = 0;
}
"""

STACK = """
#include "model.h"
void model_logits(const float *series, int length, float *logits, float *workspace)
{
    (void)workspace;
    volatile float room[BYTES / 4];
    for (int i = BYTES / 4 - 1; i >= 0; i--)
        room[i] = series[i % length];
    for (int i = 0; i < MODEL_CLASSES; i++)
        logits[i] = room[i];
}
"""


SCALING = """
#include "model.h"
int model_classify(const float *series, int length, float *logits, float *workspace)
{
    float *scaled = workspace;
    for (int i = 0; i < MODEL_CHANNELS * length; i++)
        scaled[i] = 2 * series[i];
    model_logits(scaled, length, logits, workspace + 16);
    return series[0] > 1000;
}
"""

TEST = """
#include <stdio.h>
#include "model.h"
int main(void)
{
    float series[2] = {0.5f, SECOND}, logits[MODEL_CLASSES], workspace[32];
    if (model_classify(series, 1, logits, workspace) != 0)
        return 1;
    printf("%.3f\\n", logits[0]);
    return logits[0] > 2;
}
"""


def write(folder: Path, code: str, scaling: str = "", test: str = "#error this is no part of the model") -> Path:
    """A folder with this code for a model."""
    folder.mkdir()
    files = {"model.h": HEADER, "model.c": code, "preprocess.c": scaling, "test.c": test}
    for name, content in files.items():
        if content:
            (folder / name).write_text(content + "\n")
    return folder


def make_series(*lengths: int) -> list[np.ndarray]:
    """Random series of two channels."""
    random = np.random.default_rng(0)
    return [random.normal(size=(2, length)).astype(np.float32) / 4 for length in lengths]


@needs_tools
@pytest.mark.parametrize("name", PROCESSORS)
def test_every_board_computes_what_this_machine_does(name: str, tmp_path: Path) -> None:
    folder, series = write(tmp_path / "a model's folder", MODEL), make_series(8, 5, 8)
    first, again = (emulate(folder, series, PROCESSORS[name]) for _ in range(2))
    expected = np.exp(np.outer([each.sum() for each in series], [0.5, -1.0, 2.0]))
    np.testing.assert_allclose(first.logits, expected, rtol=1e-6)
    assert first.instructions == again.instructions and first.stack_bytes == again.stack_bytes
    assert 128 + 4 * 3 <= first.footprint.static_bytes < 300
    assert 1000 < first.footprint.flash_bytes < 10_000


@needs_tools
@pytest.mark.parametrize("name", PROCESSORS)
def test_instructions_are_counted(name: str, tmp_path: Path) -> None:
    """The loop has two for each turn; beside it there are some dozens, among them those that read the clock."""
    one, eight = emulate(write(tmp_path / "loop", LOOP), make_series(1, 8), PROCESSORS[name]).instructions
    assert one == pytest.approx(2000, abs=150)
    assert eight - one == pytest.approx(14_000, abs=2 * PROCESSORS[name].tick_ns)


@needs_tools
def test_a_count_may_be_longer_than_the_counter(tmp_path: Path) -> None:
    """SysTick begins anew after 671 million instructions."""
    code = LOOP.replace("1000 *", "85000000 *")
    [count] = emulate(write(tmp_path / "loop", code), make_series(4), PROCESSORS["cortex-m4"]).instructions
    assert count == pytest.approx(680_000_000, abs=1000)


@needs_tools
def test_the_stack_is_what_was_used_of_it(tmp_path: Path) -> None:
    used = []
    for size in (4096, 65_536):
        folder = write(tmp_path / str(size), STACK.replace("BYTES", str(size)))
        found = emulate(folder, make_series(8), PROCESSORS["cortex-m4"])
        used.append(found.stack_bytes)
        assert size < found.stack_bytes < size + 500
        assert found.ram_bytes == found.stack_bytes + found.footprint.static_bytes
    assert used[1] - used[0] == 65_536 - 4096


@needs_tools
def test_what_cannot_work_is_told_in_a_sentence(tmp_path: Path) -> None:
    board = PROCESSORS["cortex-m55"]
    model = write(tmp_path / "model", MODEL)
    with pytest.raises(UserError, match="a series is longer than the model takes"):
        emulate(model, make_series(9), board)
    with pytest.raises(UserError, match=r"has no model\.h and C code"):
        emulate(tmp_path, make_series(8), board)
    with pytest.raises(UserError, match=r"cannot be compiled for cortex-m55: .*error: "):
        emulate(write(tmp_path / "wrong", "int x = y;\n"), make_series(8), board)
    large = MODEL.replace("weights[3]", "weights[200000]")
    with pytest.raises(UserError, match=r"the program is 27\d kB larger than the 512 kB of flash of mps3-an547, the"):
        emulate(write(tmp_path / "large", large), make_series(8), board)
    fault = MODEL.replace("float sum = 0;", "float sum = 0; ((void (*)(void))0xFFFFFFF1)();")
    with pytest.raises(UserError, match="the processor stopped at a fault"):
        emulate(write(tmp_path / "fault", fault), make_series(8), board)
    with pytest.raises(UserError, match="the processor stopped at a fault"):
        emulate(write(tmp_path / "deep", STACK.replace("BYTES", "1048576")), make_series(8), board)


@needs_tools
@pytest.mark.parametrize("name", PROCESSORS)
def test_a_folder_may_scale_series_itself_and_bring_a_test(name: str, tmp_path: Path) -> None:
    board, series = PROCESSORS[name], make_series(8)
    plain = emulate(write(tmp_path / "plain", MODEL), series, board)
    folder = write(tmp_path / "scaling", MODEL, SCALING, TEST.replace("SECOND", "0.75f"))
    scaled = emulate(folder, series, board)
    np.testing.assert_allclose(scaled.logits, plain.logits**2, rtol=1e-5)
    assert scaled.footprint.static_bytes == plain.footprint.static_bytes + 4 * 2 * 8
    with pytest.raises(UserError, match="the model refuses a series"):
        emulate(folder, [series[0] + 2000], board)
    with pytest.raises(UserError, match=r"its test fails \(3\.490\)"):
        run_test(folder, board)
    (folder / "test.c").write_text(TEST.replace("SECOND", "-0.25f"))
    assert run_test(folder, board) == "1.284"


def test_a_missing_tool_is_told_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_missing() == (
        "arm-none-eabi-gcc is not installed; Debian has it: apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi "
        "qemu-system-arm"
    )
    with pytest.raises(RuntimeUnavailable, match="arm-none-eabi-gcc is not installed"):
        emulate(tmp_path, make_series(8), PROCESSORS["cortex-m4"])


def test_an_unknown_processor_is_refused() -> None:
    with pytest.raises(UserError, match="unknown processor 'cortex-m3'; the processors are cortex-m4, cortex-m7"):
        find_processor("cortex-m3")


def test_modelled_time_and_energy() -> None:
    device = Device("any", clock_mhz=100, power_mw=50, source="")
    assert device.nj_per_instruction == 0.5
    assert device.model_ms(1_000_000) == 10
    assert device.model_mj(1_000_000) == 0.5


@needs_tools
@pytest.mark.compiles
@pytest.mark.slow
def test_an_exported_program_is_tried_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two channels of unequal length, scaled by training series, and labels that mean something to a compiler."""
    torch.manual_seed(0)
    embedding = ConvolutionEmbeddingConfig(3, filters=6, kernel=5)
    config = TransformerConfig(2, 3, embedding, 12, 4, (LayerConfig(3, 8),) * 2, 8, pre_norm=True)
    prepared, folder = tmp_path / "prepared", tmp_path / "-my model"
    prepared.mkdir()
    convert.convert(CompressedModel(Transformer(config).eval(), 40), "c", prepared, equal_length=False, longest=70)
    scaling = Scaler("channel", np.full((2, 1), 3.0), np.full((2, 1), 0.7))
    described = Bundle(
        dataset="Toy", model="T0", recipe="baseline", seed=0, runtime="c", number_format=NumberFormat.FP32,
        channels=2, labels=("*/ #error", 'a"b\\', "\u2028x"), patch=3, shortest=1, longest=70, equal_length=False,
        scaling=scaling, gaps="refuse", threads=1, versions={"numpy": np.__version__},
    )  # fmt: skip
    write_export(folder, prepared, described, "# card\n")
    command = ["microcontroller", str(folder)]
    assert cli.main(command) == 1
    assert "if you trust its source, add --trust-native-code" in capsys.readouterr().err
    command.append("--trust-native-code")
    assert cli.main([*command, "--cpu", "cortex-m3"]) == 1
    assert "unknown processor 'cortex-m3'" in capsys.readouterr().err
    assert cli.main([*command, "--cpu", "cortex-m4", "cortex-m55"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("its own test: 10 series have the logits that they should have") == 2
    header, *rows = printed.splitlines()[:3]
    assert header.split()[-1] == "difference" and [row.split()[0] for row in rows] == ["cortex-m4", "cortex-m55"]
    assert all(float(row.split()[-1]) < 1e-5 for row in rows)
    assert "modelled for cortex-m4: one instruction a cycle, NUCLEO-L4R5ZI at 120 MHz and 75.34 mW" in printed
    exported.make(other := tmp_path / "other", "eager")
    assert cli.main(["microcontroller", str(other)]) == 1
    assert "was exported for eager; export the model again, with --runtime c" in capsys.readouterr().err
