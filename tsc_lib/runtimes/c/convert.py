"""C: one source file of a transformer, in fp32 or static int8, without heap, files or libraries but C's own."""

from __future__ import annotations

from pathlib import Path

from tsc_lib.core.errors import RuntimeUnavailable
from tsc_lib.core.files import write_text
from tsc_lib.models.compressed import CompressedModel
from tsc_lib.models.number_format import NumberFormat
from tsc_lib.runtimes.c.compiler import HEADER, PROGRAM, compile_library, find_compiler, measure_size, name_library
from tsc_lib.runtimes.c.program import write_header, write_program
from tsc_lib.runtimes.c.static_quantization import quantize
from tsc_lib.runtimes.conversion import Conversion
from tsc_lib.runtimes.predictor import not_importable

FORMATS = (NumberFormat.FP32, NumberFormat.INT8_STATIC)
OBSERVERS = ("minmax",)


def convert(model: CompressedModel, folder: Path, equal_length: bool, longest: int | None = None) -> Conversion:
    """Write ``model.c``, ``model.h``, and the library that this machine's compiler makes of them.

    `longest` is the length of the longest series; by default the longest that the model can read.

    Raises
    ------
    RuntimeUnavailable
        If there is no compiler, the generator of C code is not installed, or the network has parts without a C form.
    """
    config = model.network.config
    if config.exits or any(layer.reduction for layer in config.layers):
        raise RuntimeUnavailable(
            "c writes a network as one program, without early exits and with all tokens in every layer; use eager, "
            "onnxruntime or openvino"
        )
    find_compiler()
    try:
        import emx_onnx_cgen  # noqa: F401 - of which `write_program` makes use
    except ImportError as error:
        raise not_importable("c", error, install="'tsc_lib[runtimes]'") from None
    shortest, most = (1, longest or config.embedding.length_limits[1])
    if equal_length:
        shortest = most = model.reference_length
    network = quantize(model) if model.number_format is NumberFormat.INT8_STATIC else model.network
    program = write_program(network, most, equal_length=equal_length)
    write_text(folder / PROGRAM, program.text)
    write_text(folder / HEADER, write_header(model.network, program, shortest, most))
    compile_library(folder, folder / name_library())
    size = measure_size(folder)
    return Conversion(
        model_bytes=program.weight_bytes,
        int8_ops=program.int8_layers,
        fp32_ops=program.fp32_layers,
        longest=most,
        flash_bytes=size.flash,
        ram_bytes=program.small_bytes,
        stack_bytes=size.stack,
    )
