"""PyTorch inductor, ahead of time: fp32, bf16, and static int8 through PT2E. One program serves every batch size.

Programs are compiled with frozen weights for one thread and packed by AOTInductor, so that what was evaluated is, byte
for byte, what is measured and can be shipped. Series of unequal length share the program too: their length is dynamic.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import importlib
import logging
import re
import shutil
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch._inductor.cpu_vec_isa import VecAVX512, VecAVX512VNNI, pick_vec_isa

from tsc_lib.core.cpus import instructions
from tsc_lib.core.errors import RuntimeUnavailable
from tsc_lib.models.compressed import CompressedModel, Quantization
from tsc_lib.runtimes import processor
from tsc_lib.runtimes.attention_elementwise import BF16, FP32, INT8, ROUNDING, ROUNDING_BITS
from tsc_lib.runtimes.conversion import Conversion
from tsc_lib.runtimes.graph import InferenceTransformer
from tsc_lib.runtimes.inductor.predict import PROGRAM
from tsc_lib.runtimes.tracing import calibration_of, example, traced

SPELLINGS = {"fp32": FP32, "bf16": BF16, "int8 static": INT8}
FORMATS = tuple(SPELLINGS)
OBSERVERS = ("minmax", "percentile", "mse")

SETTINGS = {
    "freezing": True,
    "cpp.threads": 1,
    "cpp.enable_floating_point_contract_flag": "fast",  # a product and a sum are one instruction
    # `attention_elementwise` counts on it that scores are made anew where they are read, and never stored.
    "realize_opcount_threshold": 1000,
    "realize_reads_threshold": 1000,
    "realize_acc_reads_threshold": 1000,
    "unroll_reductions_threshold": 1,  # a sum over few keys would be written out, scores and all
}

WHOLE_VECTORS = {"cpp.march": "native -mprefer-vector-width=512"}
"""Where the processor has AVX-512, GCC moves vectors as halves if it takes them for slow there.

What reads bits as another type passes through memory, and a half that is still being stored cannot be loaded as part of
a whole: an exponential took three times as long. The option has no setting of its own, but goes where this one goes.
"""

OWN_PRODUCTS = {"max_autotune_gemm": True, "max_autotune_gemm_backends": "CPP"}
"""Products that the compiler makes itself, with what comes after them.

In int8, where the processor has VNNI, a call of one series takes half of the time, most of which went into calling a
library. Without VNNI they take many times as long; and fp32's are so much slower than the library's that calls of many
series lose more than a single one gains.
"""

ROWS_AT_ONCE = "Mc_blocks = 1; Nc_blocks = std::min<int64_t>(Nr_blocks, 4);\n"
"""How much of a product goes at once to what comes after it: 32 rows of 128 columns, which stay in the nearest cache.

Where the number of rows varies, the program itself chooses, here all rows of 32 columns, which do not. The compiler's
setting is for a fixed number only, so this is put into its template, after that choice.
"""


def convert(model: CompressedModel, folder: Path, equal_length: bool) -> Conversion:
    """Compile the model and write ``program.pt2``.

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
    if model.number_format == "bf16":
        processor.require_bf16()
    inputs, shapes = example(model, equal_length)
    details: dict[str, float | int | str | bool] = {"instructions": " ".join(instructions())}
    settings = torch._inductor.config.patch(_settings(model.number_format))
    with torch.no_grad(), warnings.catch_warnings(), settings, _rows_at_once():
        warnings.simplefilter("ignore")  # exporter and quantizer warn about their own internals
        program: Any = InferenceTransformer(model.network, attention="sums", sums=SPELLINGS[model.number_format]).eval()
        if model.number_format == "int8 static":
            program, reduce_range = _quantize(program, model, inputs, shapes)
            details["reduce_range"] = reduce_range
        elif model.number_format == "bf16":
            program = Bf16(program)
        exported = traced(program, inputs, shapes)
        model_bytes = _weight_bytes(exported)
        path = folder / PROGRAM
        temporary = folder / f"compiling-{PROGRAM}"
        torch._inductor.aoti_compile_and_package(exported, package_path=str(temporary))
        temporary.replace(path)
    narrow, wide = _products(path)
    if model.number_format == "bf16":
        details["bf16_ops"], wide = wide, 0
    return Conversion(model_bytes=model_bytes, int8_ops=narrow, fp32_ops=wide, details=details)


def _settings(number_format: str) -> dict[str, Any]:
    """How the compiler is set for a number format on this processor."""
    settings, vectors = SETTINGS, pick_vec_isa()
    if isinstance(vectors, VecAVX512):
        settings = settings | WHOLE_VECTORS
    if number_format == "int8 static" and isinstance(vectors, VecAVX512VNNI):
        settings = settings | OWN_PRODUCTS
    return settings


@contextlib.contextmanager
def _rows_at_once() -> Iterator[None]:
    """Have products that the compiler makes be blocked by `ROWS_AT_ONCE`, if its template has the place for it."""
    importlib.import_module("torch._inductor.lowering")  # the next cannot be imported alone
    templates = importlib.import_module("torch._inductor.codegen.cpp_gemm_template")
    name = "GEMM_TEMPLATE_INIT_BLOCKING_EXTENDED"
    chosen, counted, rest = getattr(templates, name, "").partition("    const int64_t num_Mc_blocks")
    if counted and "mm_get_cache_blocking" in chosen:
        with mock.patch.object(templates, name, f"{chosen}    {ROWS_AT_ONCE}{counted}{rest}"):
            yield
    else:
        yield


class Bf16(nn.Module):
    """A network that computes in bf16 and takes and gives fp32."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).to(torch.bfloat16)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.network(x.to(torch.bfloat16), lengths).float()


def _quantize(
    network: nn.Module, model: CompressedModel, inputs: tuple[Tensor, ...], shapes: tuple[Any, ...]
) -> tuple[torch.nn.Module, bool]:
    """PT2E: observe the calibration series, then convert to a graph of quantized operators."""
    logging.getLogger("torchao").setLevel(logging.ERROR)  # it reports each CUDA extension that it cannot load
    logging.getLogger("torch.utils._pytree").addFilter(_concerns_us)
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    reduce_range = not processor.has_vnni()
    quantizer = x86.X86InductorQuantizer()
    config = x86.get_default_x86_inductor_quantization_config(reduce_range=reduce_range)
    quantizer.set_function_type_qconfig(torch.nn.functional.linear, _observing(config, model.quantization))
    for name in model.quantization.fp32_layers:
        quantizer.set_module_name_qconfig(name, None)
    graph = prepare_pt2e(traced(network, inputs, shapes).module(), quantizer)
    graph(*map(torch.from_numpy, calibration_of(model)))
    converted = convert_pt2e(graph)
    if isinstance(pick_vec_isa(), VecAVX512):  # narrower vectors lose with it more than they gain
        _round_by_bits(converted)
    return converted, reduce_range


def _round_by_bits(program: torch.fx.GraphModule) -> None:
    """Have `rounded` wherever a graph rounds; a ReLU before says nothing that the lower end does not say."""
    aten, operators = torch.ops.aten, torch.ops.quantized_decomposed
    for node in program.graph.find_nodes(op="call_function", target=operators.quantize_per_tensor.default):
        x, scale, zero, *rest = node.args
        while x.target is aten.dropout.default or (x.target is aten.relu.default and zero == rest[0]):
            x = x.args[0]
        with program.graph.inserting_before(node):
            node.replace_all_uses_with(rounded(torch.fx.Proxy(x), scale, zero, *rest).node)
        program.graph.erase_node(node)
    program.graph.eliminate_dead_code()
    program.recompile()


def rounded(x: Any, scale: float, zero: int, least: int, most: int, dtype: torch.dtype) -> Any:
    """Numbers rounded to int8, in less than half of the instructions that the compiler's own lowering takes.

    A large number that they are added to has them in its lowest bits, as whole numbers, and bits as integers have their
    order. So each end of the range takes one instruction, where minima and maxima of fp32 take four: those have to tell
    what is no number. And the lowest byte is the result, which takes one instruction if the compiler is told that it
    is signed. `| 0` costs nothing; without it the result would be a view, which no product can write.
    """
    ends = (ROUNDING_BITS + end for end in (least, most))
    bits = (x * (1 / scale) + (ROUNDING + zero)).view(torch.int32).clamp(*ends)
    return bits.to(torch.int8).view(dtype) | 0


def _observing(config: Any, quantization: Quantization) -> Any:
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


def _weight_bytes(program: torch.export.ExportedProgram) -> int:
    """Bytes of the weights, scales and zero points that the graph reads; the table of positions is no weight."""
    signature = program.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    read = [
        names[node.name]
        for node in program.graph.nodes
        if node.op == "placeholder" and node.name in names and node.users
    ]
    state = {**program.state_dict, **program.constants}
    return sum(state[n].numel() * state[n].element_size() for n in read if "table" not in n)


def _products(path: Path) -> tuple[int, int]:
    """How many linear layers a compiled program executes in int8, and how many in wider numbers, told from its source.

    A layer is a call of PyTorch's library, or of a kernel whose arguments X and W are the inputs and the weights.
    """
    with zipfile.ZipFile(path) as archive:
        wrapper, kernels = (
            "".join(archive.read(name).decode() for name in archive.namelist() if name.endswith(f".{part}.cpp"))
            for part in ("wrapper", "kernel")
        )
    of_library = re.findall(r"aoti_torch_cpu_(\w+)\(", wrapper)
    own = dict(re.findall(r"void (\w+)\(const (\w+)\* X, const \w+\* W\b", kernels))
    called = [own[name] for name in re.findall(r"^ +(\w+)\(", wrapper, re.MULTILINE) if name in own]
    narrow = sum("qlinear" in call for call in of_library) + sum(kind == "uint8_t" for kind in called)
    wide = sum(("linear" in call and "qlinear" not in call) or "addmm" in call for call in of_library)
    return narrow, wide + len(called) - sum(kind == "uint8_t" for kind in called)
