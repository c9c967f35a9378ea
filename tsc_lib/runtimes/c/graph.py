"""Small ONNX graphs of fixed sizes, written line by line, whose weights are inputs like any other.

So layers of one shape share one C function, and what a product reads lies in memory as the graph says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

import numpy as np
from torch import Tensor, nn

from tsc_lib.models.fakequant import FakeQuantLinear

OPSET = 17
IR_VERSION = 8

TYPES = {"float32": "float", "int8": "int8", "uint8": "uint8"}
"""What ONNX's text calls NumPy's types of weights."""


@dataclass
class Graph:
    """A graph under construction.

    Attributes
    ----------
    inputs : dict of str to tuple of int
        What it is given, by name, with sizes.
    outputs : dict of str to tuple of int
        What it gives; a line must assign each.
    lines : list of str
        Operators in ONNX's own text.
    weights : list of ndarray
        Its weights, in the order of the inputs that they become; of a type in `TYPES`.
    fp32_layers, int8_layers : int
        Linear layers that it executes, by what they are multiplied in.
    """

    inputs: Mapping[str, Sequence[int]]
    outputs: Mapping[str, Sequence[int]]
    lines: list[str] = field(default_factory=list)
    weights: list[np.ndarray] = field(default_factory=list)
    fp32_layers: int = 0
    int8_layers: int = 0
    _known: dict[tuple[object, ...], str] = field(default_factory=dict)

    def add(self, call: str, name: str = "") -> str:
        """Append an operator such as ``Add(x, y)``; returns the name of its result."""
        name = name or f"t{len(self.lines)}"
        self.lines.append(f"{name} = {call}")
        return name

    def weigh(self, weight: Tensor | np.ndarray) -> str:
        """Append a weight, in fp32 unless it is an array of integers; returns its name."""
        if isinstance(weight, Tensor):
            weight = weight.detach().numpy().astype(np.float32)
        self.weights.append(np.array(weight, order="C"))
        return f"w{len(self.weights) - 1}"

    def multiply(
        self,
        x: str,
        linear: nn.Module,
        name: str = "",
        *,
        scale: float = 1.0,
        columns: bool = False,
        rectify: bool = False,
        addend: str = "",
    ) -> str:
        """A linear layer, whole or factorised, times a number.

        Its input is rows (any, width), and its result, too, unless `columns` (width, any) are asked for. With `rectify`
        negative inputs count as 0. The `addend`, rows, takes the place of the bias.
        """
        if isinstance(linear, nn.Sequential):
            x, linear = self.multiply(x, linear[0], rectify=rectify), linear[1]
            rectify = False
        layer = cast(nn.Linear, linear)
        if isinstance(layer, FakeQuantLinear):
            found = self._multiply_int8(x, layer, "" if columns else name, scale, rectify, addend)
            return self.transpose(found, name) if columns else found
        self.fp32_layers += 1
        x = self.add(f"Relu({x})") if rectify else x
        weight = self.weigh((layer.weight if columns else layer.weight.T) * scale)
        given = [weight, self.transpose(x)] if columns else [x, weight]
        if addend:
            given.append(addend)
        elif layer.bias is not None:
            given.append(self.weigh(layer.bias.reshape(-1, 1) * scale if columns else layer.bias * scale))
        return self.add(f"Gemm({', '.join(given)})", name)

    def _multiply_int8(
        self, x: str, layer: FakeQuantLinear, name: str, scale: float, rectify: bool, addend: str
    ) -> str:
        """Rows in whole numbers: inputs of 0 ... 255 times int8 weights, added in int32."""
        self.int8_layers += 1
        (step, zero), weight_steps = layer.get_input_grid(), layer.get_weight_steps()
        if rectify and zero > 0:  # else rounding cuts what is negative
            x = self.add(f"Relu({x})")
        weight = (layer.weight.detach() / weight_steps[:, None]).round()
        steps = step * weight_steps * scale
        bias = -zero * weight.sum(dim=1) * steps
        if layer.bias is not None and not addend:
            bias += layer.bias.detach() * scale
        rounded = self._round(x, step, zero)
        product = self.add(f"MatMulInteger({rounded}, {self.weigh(weight.T.numpy().astype(np.int8))})")
        product = self.add(f"DequantizeLinear <axis = 1> ({product}, {self.weigh(steps)})")
        product = self.add(f"Add({product}, {addend})") if addend else product
        return self.add(f"Add({product}, {self.weigh(bias)})", name)

    def _round(self, x: str, step: Tensor, zero: Tensor) -> str:
        """The nearest of 256 steps (uint8)."""
        return self._once(
            ("round", x, step.item(), zero.item()),
            lambda: f"QuantizeLinear({x}, {self.weigh(step)}, {self.weigh(zero.numpy().astype(np.uint8))})",
        )

    def transpose(self, x: str, name: str = "") -> str:
        """Columns of rows, or rows of columns."""
        call = f"Transpose <perm = [1, 0]> ({x})"
        return self.add(call, name) if name else self._once(("transpose", x), lambda: call)

    def _once(self, key: tuple[object, ...], write: Callable[[], str]) -> str:
        """What several products read is computed once; returns its name."""
        if key not in self._known:
            self._known[key] = self.add(write())
        return self._known[key]

    def average(self, x: str, name: str) -> str:
        """The mean (1, width) over rows `x`, of which what is negative counts as 0."""
        return self.add(f"ReduceMean <axes = [0], keepdims = 1> ({self.add(f'Relu({x})')})", name)

    def normalise(self, x: str, norm: nn.LayerNorm, name: str = "") -> str:
        """A layer norm of rows `x`."""
        given = f"{x}, {self.weigh(norm.weight)}, {self.weigh(norm.bias)}"
        return self.add(f"LayerNormalization <axis = -1, epsilon = {norm.eps:.9e}> ({given})", name)

    @property
    def text(self) -> str:
        """The graph in ONNX's text, without values of weights."""
        given, found = (
            [_declare("float", sizes, name) for name, sizes in values.items()] for values in (self.inputs, self.outputs)
        )
        given += [_declare(TYPES[w.dtype.name], w.shape, f"w{number}") for number, w in enumerate(self.weights)]
        body = "\n".join(f"  {line}" for line in self.lines)
        head = f'<ir_version: {IR_VERSION}, opset_import: ["": {OPSET}]>'
        return f"{head}\nstage ({', '.join(given)}) => ({', '.join(found)})\n{{\n{body}\n}}\n"


def _declare(kind: str, sizes: Sequence[int], name: str) -> str:
    return f"{kind}[{', '.join(map(str, sizes))}] {name}" if sizes else f"{kind} {name}"


def write_c(text: str, name: str) -> list[str]:
    """The C code of a graph as a function `name`, in parts; parts that graphs have in common are the same.

    Parameters
    ----------
    text : str
        A graph's `Graph.text`.
    name : str
        The function takes the graph's inputs, its weights and its outputs, as arrays.
    """
    import onnx.parser

    model = onnx.parser.parse_model(re.sub(r"\bt(\d+)\b", rf"{name}_t\1", text))
    for number, node in enumerate(model.graph.node):
        node.name = f"{name}_{number}"
    source = _make_compiler().compile(model).replace(f"void {PLACEHOLDER}(", f"static void {name}(")
    return [part for part in source.strip().split("\n\n") if not part.startswith(UNUSED)]


PLACEHOLDER = "model_stage"
"""What the compiler calls every graph."""

UNUSED = ("/*\n * Generated by", f"_Bool {PLACEHOLDER}_load(")
"""How parts begin that a program has once, or does without: it has no weights to load."""


@lru_cache(maxsize=1)
def _make_compiler() -> Any:
    """What turns graphs into C: no heap, no other files, whatever the size. Its templates take a second to load."""
    from emx_onnx_cgen.compiler import Compiler, CompilerOptions

    return Compiler(CompilerOptions(model_name=PLACEHOLDER, large_temp_threshold_bytes=0, large_weight_threshold=0))
