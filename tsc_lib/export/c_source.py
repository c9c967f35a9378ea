"""What an exported C program has beside it: scaling, labels, a test with ten series, and a Makefile."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tsc_lib.core.files import write_text
from tsc_lib.export.bundle import Bundle
from tsc_lib.runtimes import Predictor
from tsc_lib.series.scaling import FARTHEST, Scaler

PREPROCESS, TEST, MAKEFILE = "preprocess.c", "test.c", "Makefile"
EXAMPLES = 10

PREPROCESS_C = """\
/* What is done to a series before the model sees it, the same as in training; and the labels. See model.h. */

#include "model.h"

#include <math.h>

const char *const model_labels[MODEL_CLASSES] = {{
{labels}
}};

{scale}

int model_classify(const float *series, int length, float *logits, float *workspace)
{{
    float *const scaled = workspace + MODEL_WORKSPACE_BYTES / sizeof(float) - MODEL_CHANNELS * MODEL_LENGTH;
    if (length < MODEL_SHORTEST || length > MODEL_LENGTH)
        return 1;
    model_scale(series, length, scaled);
    for (int i = 0; i < MODEL_CHANNELS * length; ++i)
        if (!(fabsf(scaled[i]) <= {farthest}f)) /* too large to compute with, or missing */
            return 1;
    model_logits(scaled, length, logits, workspace);
    return 0;
}}
"""

SCALE = """\
void model_scale(const float *series, int length, float *scaled)
{{
{constants}    for (int c = 0; c < MODEL_CHANNELS; ++c) {{
{measure}        for (int i = 0; i < length; ++i)
            scaled[c * length + i] = {value};
    }}
}}"""

MEASURE = """\
        double sum = 0.0, squares = 0.0, largest = 0.0;
        for (int i = 0; i < length; ++i)
            sum += series[c * length + i];
        const double mean = sum / length;
        for (int i = 0; i < length; ++i) {
            const double value = series[c * length + i];
            squares += (value - mean) * (value - mean);
            largest = fabs(value) > largest ? fabs(value) : largest;
        }
        double deviation = sqrt(squares / length);
        if (deviation <= 1e-12 * largest) /* the rounding of a constant series */
            deviation = 1.0;
"""

TEST_C = """\
/* Ten series as they were recorded, and the logits that the model gave for them where it was exported. The program
   fails if it gives others here. */

#include "model.h"

#include <math.h>
#include <stdio.h>

#ifndef TOLERANCE /* relative to 1 + the size of the logit */
#define TOLERANCE 1e-5f
#endif
{rounding}
static const int lengths[] = {{{lengths}}};

static const float series[] = {{
{series}
}};

static const float expected[] = {{
{logits}
}};

static float workspace[MODEL_WORKSPACE_BYTES / sizeof(float)];

int main(void)
{{
    const float *next = series;
    const int count = (int)(sizeof lengths / sizeof *lengths);
    float logits[MODEL_CLASSES], worst = 0.0f;
    int rounded = 0;
    for (int i = 0; i < count; ++i) {{
        float farthest = 0.0f;
        if (model_classify(next, lengths[i], logits, workspace) != 0) {{
            printf("series %d is refused\\n", i + 1);
            return 1;
        }}
        next += MODEL_CHANNELS * lengths[i];
        for (int c = 0; c < MODEL_CLASSES; ++c) {{
            const float wanted = expected[i * MODEL_CLASSES + c];
            const float off = fabsf(logits[c] - wanted) / (1.0f + fabsf(wanted));
            if (!(off <= FARTHEST)) {{
                printf("series %d: logit %d is %.9g instead of %.9g\\n", i + 1, c + 1, logits[c], wanted);
                return 1;
            }}
            farthest = off > farthest ? off : farthest;
        }}
        rounded += farthest > TOLERANCE;
        worst = farthest > worst ? farthest : worst;
    }}
    if (rounded > MOST_ROUNDED) {{
        printf("%d series are off, by up to %.2g; that is no rounding\\n", rounded, worst);
        return 1;
    }}
    printf("%d series have the logits that they should have; largest relative difference %.2g\\n", count, worst);
    return 0;
}}
"""

EXACT = """\
#define FARTHEST TOLERANCE
#define MOST_ROUNDED 0
"""

ROUNDED = """\
/* Another compiler may round an input of a product in int8 to the next of its 256 steps, where it lies between two:
   so many series may be so far off. */
#define FARTHEST 0.1f
#define MOST_ROUNDED 5
"""

MAKE = """\
# make test                                         compile the model here and try it on ten series
# make test CC=clang CFLAGS='-O1 -g -fsanitize=address,undefined'
# make test CC=arm-linux-gnueabihf-gcc RUN='qemu-arm -L /usr/arm-linux-gnueabihf'

CFLAGS = -O2
RUN =

.PHONY: test
test:
	$(CC) -std=c99 -Wall -Wextra $(CFLAGS) -o model-test model.c preprocess.c test.c -lm
	$(RUN) ./model-test; status=$$?; rm -f model-test; exit $$status
"""


def write_c_source(folder: Path, bundle: Bundle, predict: Predictor, series: Sequence[np.ndarray]) -> None:
    """Write ``preprocess.c``, ``test.c`` and ``Makefile`` beside a program.

    Parameters
    ----------
    folder : Path
        Holds ``model.c`` and ``model.h``.
    bundle : Bundle
        What the folder will say of the model.
    predict : Predictor
        The program.
    series : sequence of ndarray of shape (channels, length_i)
        Scaled series that the model reads; of them are those of the test.
    """
    labels = ",\n".join(f"    {write_string(label)}" for label in bundle.labels)
    scale = _write_scaling(bundle.scaling)
    text = PREPROCESS_C.format(labels=labels, scale=scale, farthest=np.float32(FARTHEST))
    write_text(folder / PREPROCESS, text)
    write_text(folder / TEST, _write_test(bundle, predict, series))
    write_text(folder / MAKEFILE, MAKE)


def make_up_series(bundle: Bundle) -> list[np.ndarray]:
    """Scaled series of noise, for a model that comes without test series."""
    rng = np.random.default_rng(0)
    lengths = np.linspace(bundle.shortest, min(bundle.longest, 100 * bundle.patch), EXAMPLES).astype(int)
    return [rng.normal(size=(bundle.channels, length)).astype(np.float32) for length in lengths]


def write_string(text: str) -> str:
    """A text as a string of C, whatever characters it has.

    Examples
    --------
    >>> print(write_string('so-called "night"?'))
    "so-called \\042night\\042\\077"
    """
    plain = set(range(32, 127)) - set(b'"\\?')
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in text.encode()) + '"'


def _write_scaling(scaling: Scaler) -> str:
    if scaling.kind == "none":
        return SCALE.format(constants="", measure="", value="series[c * length + i]")
    value = "(float)((series[c * length + i] - mean) / deviation)"
    if scaling.mean is None or scaling.deviation is None:
        return SCALE.format(constants="", measure=MEASURE, value=value)
    constants = ""
    for name, values in (("means", scaling.mean), ("deviations", scaling.deviation)):
        listed = ", ".join(map(repr, values[:, 0].tolist()))
        constants += f"    static const double {name}[MODEL_CHANNELS] = {{{listed}}};\n"
    return SCALE.format(
        constants=constants,
        measure="        const double mean = means[c], deviation = deviations[c];\n",
        value=value,
    )


def _write_test(bundle: Bundle, predict: Predictor, series: Sequence[np.ndarray]) -> str:
    chosen = [series[i * len(series) // EXAMPLES] for i in range(EXAMPLES)]
    recorded = [unscale(bundle.scaling, one) for one in chosen]
    logits = []
    for one in recorded:
        x = bundle.scaling(one.astype(np.float64))
        logits.append(predict(x[None], None if bundle.equal_length else np.array([x.shape[1]]))[0])
    return TEST_C.format(
        rounding=ROUNDED if bundle.number_format.arithmetic == "int8" else EXACT,
        lengths=", ".join(str(one.shape[1]) for one in recorded),
        series=",\n".join(map(_write_numbers, recorded)),
        logits=",\n".join(map(_write_numbers, logits)),
    )


def unscale(scaling: Scaler, series: np.ndarray) -> np.ndarray:
    """A series, float32, that is scaled to about this one."""
    if scaling.mean is None or scaling.deviation is None:
        return series
    return (series * scaling.deviation + scaling.mean).astype(np.float32)


def _write_numbers(values: np.ndarray) -> str:
    numbers = [f"{value}f" for value in values.ravel().astype(np.float32)]
    return ",\n".join(", ".join(numbers[start : start + 8]) for start in range(0, len(numbers), 8))
