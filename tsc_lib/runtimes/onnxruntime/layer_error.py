"""How far int8 is from fp32 in every linear layer of the graph that runs, by its signal-to-noise ratio.

The graph is ONNX Runtime's after its own optimisation, executed as it is; the only addition is that the outputs of its
int8 operators are handed out.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from torch import nn

from tsc_lib.core.errors import RuntimeUnavailable, UserError
from tsc_lib.data import Split, batches
from tsc_lib.models.compressed import load_model
from tsc_lib.models.number_format import NumberFormat
from tsc_lib.runtimes.graph import InferenceTransformer
from tsc_lib.runtimes.onnxruntime.predict import MODEL, session
from tsc_lib.runtimes.onnxruntime.static_quantization import INT8_PRODUCT
from tsc_lib.runtimes.predictor import graph_inputs

REASONS = {
    "c": "c's program hands out nothing but its result",
    "inductor": "inductor's compiled program hands out nothing but its result",
    "openvino": "openvino fuses int8 layers with what follows; handing out their outputs would make another program",
}
"""Why a runtime's layers cannot be looked into."""

BIAS = 6
"""Which input of a product in int8 is the bias."""


class LayerError(TypedDict):
    """How far the outputs of a layer in int8 are from those in fp32.

    Attributes
    ----------
    layer : str
        Its name in `InferenceTransformer`.
    sqnr_db : float
        Signal-to-quantization-noise ratio: ten times the decimal logarithm of the fp32 outputs' energy over that of
        their difference from int8's, over all series.
    """

    layer: str
    sqnr_db: float


def measure_layer_errors(folder: Path, runtime: str, series: Split, equal_length: bool) -> list[LayerError]:
    """Compare the outputs of all int8 layers of a converted model with those in fp32.

    Errors add up through the network: a layer's holds that of its inputs, as it does when the model runs.

    Parameters
    ----------
    folder : Path
        What `tsc_lib.runtimes.convert.convert` filled with static int8.
    runtime : str
        That it was prepared for.
    series : Split
        Series to execute, each by itself.
    equal_length : bool
        Whether all series of the data set have one length.

    Returns
    -------
    list of LayerError
        One for every linear layer in int8.

    Raises
    ------
    UserError
        If the model is not static int8.
    RuntimeUnavailable
        If the runtime's layers cannot be looked into.
    """
    model = load_model(folder)
    if model.number_format is not NumberFormat.INT8_STATIC:
        raise UserError(f"layer errors are those of static int8, and the model is {model.number_format}")
    if runtime != "onnxruntime":
        raise RuntimeUnavailable(REASONS[runtime])
    import onnx
    import onnxruntime

    with tempfile.TemporaryDirectory() as temporary:
        optimized = Path(temporary) / "optimized.onnx"
        session(folder / MODEL, 1, optimized)
        graph = onnx.load(optimized)
    products = {node.output[0]: node for node in graph.graph.node if node.op_type == INT8_PRODUCT}
    kind = onnx.TensorProto.FLOAT
    graph.graph.output.extend(onnx.helper.make_tensor_value_info(name, kind, None) for name in products)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # it is what runs already
    running = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in running.get_inputs()]

    with torch.no_grad():
        network = InferenceTransformer(model.network, attention="matmul").eval()
    exact: dict[str, np.ndarray] = {}

    def keep(name: str, module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        exact[name] = output.numpy()

    for node in products.values():  # which has the name of its layer
        network.get_submodule(node.name).register_forward_hook(partial(keep, node.name))
    energies = {node.name: np.zeros(2) for node in products.values()}  # of the signal and of the noise
    for batch in batches(series, 1, equal_length=equal_length):
        given = graph_inputs(batch.x, batch.lengths, model.network.config.embedding.patch)
        with torch.inference_mode():
            network(*map(torch.from_numpy, given))
        found = running.run(list(products), dict(zip(names, given, strict=True)))
        for node, output in zip(products.values(), found, strict=True):
            signal, bias = exact[node.name], network.get_submodule(node.name).bias
            if isinstance(bias, torch.Tensor) and not any(node.input[BIAS:]):  # another operator adds it
                signal = signal - bias.detach().numpy()
            energies[node.name] += np.square(signal).sum(), np.square(signal - output).sum()
    return [{"layer": layer, "sqnr_db": 10 * float(np.log10(s / n))} for layer, (s, n) in energies.items()]
