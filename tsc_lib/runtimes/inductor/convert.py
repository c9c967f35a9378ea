"""PyTorch inductor, ahead of time: fp32, bf16, and static int8 through PT2E.

Programs are compiled with frozen weights for one thread and packed by AOTInductor, so that what was evaluated is, byte
for byte, what is measured and can be shipped. They serve every batch size, and every length where lengths differ.

All number formats get the same graph and the same settings of the compiler. One setting has no best value: whether
matrix products are calls of PyTorch's library, or loops that the compiler writes together with what comes after them.
So every model is compiled with both, both are timed, and the faster one is kept: one for calls with a single series,
one for calls with more.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
import shutil
import tempfile
import time
import warnings
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tsc_lib.core.errors import RuntimeUnavailable
from tsc_lib.models.compressed import CompressedModel, Quantization
from tsc_lib.models.number_format import NumberFormat
from tsc_lib.runtimes import processor
from tsc_lib.runtimes.conversion import Conversion, ProductChoice
from tsc_lib.runtimes.inductor.predict import (
    PROGRAM,
    PROGRAM_ONE,
    TOKENS,
    InductorPredictor,
    list_instructions,
    load_program,
)
from tsc_lib.runtimes.tracing import calibration_batches, is_positions, make_example, make_inference_form

FORMATS = (NumberFormat.FP32, NumberFormat.BF16, NumberFormat.INT8_STATIC)
OBSERVERS = ("minmax", "percentile", "mse")

SETTINGS = {
    "freezing": True,
    "cpp.threads": 1,
    "cpp.enable_floating_point_contract_flag": "fast",  # a product and a sum are one instruction
    # `attention_elementwise` needs scores that are computed again where they are read, and never stored.
    "realize_opcount_threshold": 1000,
    "realize_reads_threshold": 1000,
    "realize_acc_reads_threshold": 1000,
    "unroll_reductions_threshold": 1,  # a sum over few keys would be written out, scores and all
}

WHOLE_VECTORS = {"cpp.march": "native -mprefer-vector-width=512"}
"""For processors with AVX-512, whose vectors GCC may move as halves.

What reads bits as another type passes through memory, and a half that is still being stored cannot be loaded as part of
a whole. The option has no setting of its own, but is passed on with this one.
"""

PRODUCTS: dict[str, dict[str, Any]] = {
    "library": {},
    "compiler": {"max_autotune_gemm": True, "max_autotune_gemm_backends": "CPP"},
}
"""Who computes matrix products, and the compiler's settings for that."""

CALLS = 11
"""How often each program is called to be timed, after a warm-up."""


def convert(model: CompressedModel, folder: Path, equal_length: bool) -> Conversion:
    """Compile the model and write its programs.

    Raises
    ------
    RuntimeUnavailable
        If there is no C++ compiler, the processor lacks instructions for the format, or the model has early exits.
    """
    if model.network.config.exits:
        raise RuntimeUnavailable(
            "inductor compiles a network as one program, without early exits; use eager, onnxruntime or openvino"
        )
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        raise RuntimeUnavailable("inductor needs a C++ compiler and none is on the PATH; install g++")
    int8, bf16 = model.number_format is NumberFormat.INT8_STATIC, model.number_format is NumberFormat.BF16
    if bf16:
        processor.require_bf16()
    reduce_range = not processor.has_vnni() if int8 else None
    inputs, shapes = make_example(model, equal_length)
    with torch.no_grad(), warnings.catch_warnings(), tempfile.TemporaryDirectory(dir=folder) as temporary:
        warnings.simplefilter("ignore")  # exporter and quantizer warn about their own internals
        network: nn.Module = make_inference_form(model, equal_length, "elementwise")
        if int8:
            network = _quantize(network, model, inputs, shapes, bool(reduce_range))
        elif bf16:
            network = Bf16(network)
        program = torch.export.export(network, inputs, dynamic_shapes=shapes)
        compiled = {name: Path(temporary) / f"{name}.pt2" for name in PRODUCTS}
        vectors = WHOLE_VECTORS if processor.has_avx512() else {}
        for name, path in compiled.items():
            settings = SETTINGS | vectors | PRODUCTS[name]
            torch._inductor.aoti_compile_and_package(program, package_path=str(path), inductor_configs=settings)
        choices = _compare(compiled, model, equal_length)
        for choice, name in zip(choices, (PROGRAM_ONE, PROGRAM), strict=True):
            shutil.copyfile(compiled[choice.faster], folder / name)
    narrow, wide = _count_linears(program)
    return Conversion(
        model_bytes=_count_bytes(program),
        int8_ops=narrow,
        fp32_ops=0 if bf16 else wide,
        bf16_ops=wide if bf16 else None,
        reduce_range=reduce_range,
        instructions=" ".join(list_instructions()),
        products=choices,
    )


def _compare(compiled: dict[str, Path], model: CompressedModel, equal_length: bool) -> tuple[ProductChoice, ...]:
    """Time programs in turn, with one series a call and with as many as are executed at once."""
    config, length = model.network.config, model.reference_length
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    predictors = {
        name: InductorPredictor(program, program, config.embedding.patch)
        for name, program in ((name, load_program(path)) for name, path in compiled.items())
    }
    choices = []
    for series in (1, max(2, TOKENS // (length // config.embedding.patch + 1))):
        x = np.random.default_rng(0).normal(size=(series, config.channels, length)).astype(np.float32)
        lengths = None if equal_length else np.full(series, length)
        times: dict[str, list[float]] = {name: [] for name in compiled}
        for _ in range(CALLS + 1):
            for name, predict in predictors.items():
                started = time.process_time()
                predict(x, lengths)
                times[name].append(1000 * (time.process_time() - started))
        choices.append(ProductChoice(series, {name: median(spent[1:]) for name, spent in times.items()}))
    torch.set_num_threads(threads)
    return tuple(choices)


class Bf16(nn.Module):
    """A network that computes in bf16 and takes and gives fp32."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).to(torch.bfloat16)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.network(x.to(torch.bfloat16), lengths).float()


def _quantize(
    network: nn.Module,
    model: CompressedModel,
    inputs: tuple[Tensor, ...],
    shapes: tuple[Any, ...],
    reduce_range: bool,
) -> nn.Module:
    """PT2E: observe the calibration series, then convert to a graph of quantized operators."""
    logging.getLogger("torchao").setLevel(logging.ERROR)  # it reports each CUDA extension that it cannot load
    logging.getLogger("torch.utils._pytree").addFilter(_concerns_us)
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    quantizer = x86.X86InductorQuantizer()
    config = x86.get_default_x86_inductor_quantization_config(reduce_range=reduce_range)
    quantizer.set_function_type_qconfig(torch.nn.functional.linear, _set_observer(config, model.quantization))
    for name in model.quantization.fp32_layers:
        quantizer.set_module_name_qconfig(name, None)
    program = torch.export.export(network, inputs, dynamic_shapes=shapes)
    graph = prepare_pt2e(program.module(), quantizer)
    [batch] = calibration_batches(model)
    graph(*map(torch.from_numpy, batch))
    return convert_pt2e(graph)


def _set_observer(config: Any, quantization: Quantization) -> Any:
    """A quantizer's settings with another observer of inputs; its own has the least mean squared error already."""
    if quantization.observer in ("native", "mse"):
        return config
    from torchao.quantization.pt2e import MinMaxObserver

    class PercentileObserver(MinMaxObserver):
        """The range that holds the middle per cent of all inputs; the calibration series come in one batch."""

        def forward(self, x: Tensor) -> Tensor:
            tail = (1 - quantization.percentile / 100) / 2
            ends = np.quantile(x.detach().numpy(), [tail, 1 - tail])
            super().forward(torch.from_numpy(ends.astype(np.float32)))
            return x

    chosen = MinMaxObserver if quantization.observer == "minmax" else PercentileObserver
    inputs = dataclasses.replace(config.input_activation, observer_or_fake_quant_ctr=chosen.with_args(eps=2**-12))
    return dataclasses.replace(config, input_activation=inputs, output_activation=inputs)


def _concerns_us(record: logging.LogRecord) -> bool:
    """Whether a message of PyTorch's registry is not the one on how torchao registers its own KernelPreference."""
    return "KernelPreference" not in record.getMessage()


def _count_linears(program: torch.export.ExportedProgram) -> tuple[int, int]:
    """How many linear layers of the graph that is compiled are int8, and how many not.

    The compiler makes a product in int8 of a linear layer whose input and weight come from int8.
    """
    operators = torch.ops.quantized_decomposed
    kinds = (operators.dequantize_per_tensor.default, operators.dequantize_per_channel.default)
    linears = program.graph.find_nodes(op="call_function", target=torch.ops.aten.linear.default)
    inputs = [tuple(given.target for given in node.all_input_nodes[:2]) for node in linears]
    narrow = inputs.count(kinds)
    return narrow, len(inputs) - narrow


def _count_bytes(program: torch.export.ExportedProgram) -> int:
    """Bytes of the weights, scales and zero points that the graph reads; the table of positions is no weight."""
    signature = program.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    read = [
        names[node.name]
        for node in program.graph.find_nodes(op="placeholder")
        if node.name in names and node.users and not is_positions(names[node.name])
    ]
    state = {**program.state_dict, **program.constants}
    return sum(state[name].numel() * state[name].element_size() for name in read)
