"""What an exported model must not be trusted with, as its model card says it."""

from __future__ import annotations

import pandas as pd

from tsc_lib.analysis.wording import join_items
from tsc_lib.benchmark.host import Host
from tsc_lib.export.bundle import SUMS, Bundle
from tsc_lib.runtimes import NATIVE


def list_limits(bundle: Bundle) -> list[str]:
    """What a model is for, and what was not examined; sentences for its card."""
    limits = [
        f"For series recorded like those of {bundle.dataset}: the same quantity, run, sampling rate and order of "
        "channels. Every series gets one of the labels above, even one that belongs to none of them.",
        "The probabilities are a softmax of the logits; whether they are calibrated was not examined.",
        f"Series must have {bundle.lengths} time steps"
        + (", without missing values." if bundle.gaps == "refuse" else "; how many may be missing was not examined.")
        + ("" if bundle.equal_length else " Lengths far from those of the training data were not examined."),
    ]
    if bundle.number_format == "int8 dynamic":
        limits.append("Ranges of int8 are taken from every batch, so a probability may depend on the series beside it.")
    return [*limits, _where(bundle)]


def _where(bundle: Bundle) -> str:
    """What processors execute it, and what its checksums do not tell."""
    signature = f"`{SUMS}` tells whether a file was changed, not who made it: it is no signature."
    if bundle.runtime in NATIVE:
        return (
            f"Its `*.pt2` files are native code for processors with {join_items(bundle.instructions)}; on others it is "
            "refused. Native code may do anything as soon as it is loaded, so load it only if you trust who made it: "
            f"`predict` wants `--trust-native-code`. {signature}"
        )
    if bundle.runtime == "c":
        rounding = ""
        if bundle.number_format.arithmetic == "int8":
            rounding = (
                "Where an input of a product lies between two of its 256 steps, another compiler may round it to the "
                "other one, and a logit then differs by a little. "
            )
        return (
            "Its `*.c` files compile for every processor with a C compiler (C99, 32-bit floats); `make test` in the "
            f"folder tries them on ten series. {rounding}`predict` compiles and loads them. Code may do anything as "
            "soon as it is loaded, so do that only if you trust who made it: `predict` wants `--trust-native-code`. "
            f"{signature}"
        )
    arithmetic = {
        "int8": " Its int8 weights have seven bits, so that no sum of products overflows on a processor without VNNI.",
        "bf16": " Those without instructions for bf16 round otherwise and are slow, so a label may differ there.",
    }.get(bundle.number_format.arithmetic, "")
    return (
        f"It holds no native code and runs on every processor that {bundle.runtime} works on, where logits may differ "
        f"in their last digits.{arithmetic} {signature}"
    )


def list_limits_of_measurement(bundle: Bundle, row: pd.Series, host: Host) -> list[str]:
    """What its tests and measurements do not tell; sentences for its card.

    `row` is one of its rows of the results table, `host` the machine it was measured on.
    """
    limits = [
        "Validated on that data set's test file alone, for one training; not on shifted data, not on other devices or "
        "people, not against noise or gaps.",
        f"Time and energy hold for {host.cpu_model} and the batch sizes above; measure again elsewhere.",
    ]
    if row.classes_predicted < len(bundle.labels):
        limits.append(
            f"On the test file it never gives {len(bundle.labels) - int(row.classes_predicted)} of its labels."
        )
    return limits
