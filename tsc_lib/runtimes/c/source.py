"""C code under construction: functions generated of the stages of a network, its weights, and what calls them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from tsc_lib.runtimes.c.graph import Graph, write_c

TYPES = {"float32": "float", "int8": "int8_t", "uint8": "uint8_t"}
"""What C calls NumPy's types of weights."""

HELPER = re.compile(r"static inline \w+ (\w+)\(")


@dataclass
class Source:
    """C code under construction.

    Attributes
    ----------
    parts : list of str
        Declarations and functions, each once.
    arrays : list of str
        Weights.
    functions : list of str
        Functions that call those of several stages.
    stages : dict of str to str
        Names of the functions of the stages, by their graph.
    weight_bytes, fp32_layers, int8_layers : int
        Of all calls so far.
    """

    parts: list[str] = field(default_factory=list)
    arrays: list[str] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    stages: dict[str, str] = field(default_factory=dict)
    weight_bytes: int = 0
    fp32_layers: int = 0
    int8_layers: int = 0

    def function(self, graph: Graph, kind: str) -> str:
        """The name of the C function of a graph; graphs that differ in the values of their weights alone share one."""
        if graph.text not in self.stages:
            name = self.stages[graph.text] = f"model_{kind}{len(self.stages)}"
            self.parts += [part for part in write_c(graph.text, name) if part not in self.parts]
        return self.stages[graph.text]

    def call(self, graph: Graph, kind: str, given: list[str], found: list[str]) -> str:
        """The statement that calls a graph's function with pointers to what it is given and to what it gives."""
        weights = [self.array(weight) for weight in graph.weights]
        self.weight_bytes += sum(weight.nbytes for weight in graph.weights)
        self.fp32_layers += graph.fp32_layers
        self.int8_layers += graph.int8_layers
        pointers = [f"(void *)({pointer})" for pointer in given]
        results = [f"(void *)({pointer})" for pointer in found]
        return f"{self.function(graph, kind)}({', '.join([*pointers, *weights, *results])});"

    @property
    def used_parts(self) -> list[str]:
        """The parts without those little functions that the generator writes for whoever may need them."""
        text = "\n".join(self.parts)
        return [p for p in self.parts if (helper := HELPER.match(p)) is None or text.count(f"{helper[1]}(") > 1]

    def array(self, values: np.ndarray) -> str:
        """The name of a constant array with these values."""
        name = f"model_weights{len(self.arrays)}"
        values = np.atleast_1d(values)
        sizes = "".join(f"[{size}]" for size in values.shape)
        self.arrays.append(f"static const {TYPES[values.dtype.name]} {name}{sizes} = {write_values(values)};")
        return name


def write_values(values: np.ndarray) -> str:
    """Numbers as an initializer of C, exact to the last digit."""
    if values.ndim > 1:
        return "{\n" + ",\n".join(map(write_values, values)) + "}"
    suffix = "f" if values.dtype == np.float32 else ""
    return "{" + ", ".join(f"{value}{suffix}" for value in values) + "}"
