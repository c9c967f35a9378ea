"""Which GPUs ``CUDA_VISIBLE_DEVICES`` leaves to a process, told as CUDA does; NVML itself shows all that there are."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from types import ModuleType
from typing import Any

from tsc_lib.energy.source import UnusableError

VARIABLE = "CUDA_VISIBLE_DEVICES"

WHOLE = "NVML tells the energy of whole GPUs only"

NUMBER = re.compile(r"\s*[+-]?\d+")
"""What CUDA reads of an entry that is a number: whatever follows it is left out."""


def find_gpus(nvml: ModuleType) -> dict[str, Any]:
    """NVML's handles of the GPUs that this process may use, by name: ``gpu-0``, ``gpu-1``, ...

    Parameters
    ----------
    nvml : module
        `pynvml`, initialised.

    Raises
    ------
    UnusableError
        If there is none, if they are parts of GPUs (MIG), or if it is not known which they are.
    """
    names = os.environ.get(VARIABLE)
    gpus = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
    parts = [list_parts(gpu, nvml) for gpu in gpus]
    if names is not None and names.startswith("MIG-"):
        first = names.split(",")[0]  # CUDA uses no more than one
        for number, uuids in enumerate(parts):
            for uuid in uuids or []:
                if uuid.startswith(first):
                    raise UnusableError(f"{uuid} is a part of gpu-{number} (MIG), and {WHOLE}")
        raise UnusableError(f"{VARIABLE} names {first}, which is a part of no GPU here")
    visible = select_visible(names, [nvml.nvmlDeviceGetUUID(gpu) for gpu in gpus])
    if not visible:
        why = "" if names is None else f": {VARIABLE} is {names!r}"
        raise UnusableError(f"NVML shows no GPU that this process may use{why}")
    by_number = names is not None and NUMBER.match(names) and len(visible) < len(gpus)
    models = {nvml.nvmlDeviceGetName(gpu) for gpu in gpus}
    if by_number and len(models) > 1 and os.environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        raise UnusableError(
            f"which GPUs {VARIABLE}={names} means is not known: CUDA begins with the fastest, NVML with the first on "
            "the bus; set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name GPUs by UUID"
        )
    for number in visible:
        if (uuids := parts[number]) is not None:
            raise UnusableError(
                f"gpu-{number} is divided into parts (MIG: {', '.join(uuids) or 'none yet'}), and {WHOLE}"
            )
    return {f"gpu-{i}": gpus[i] for i in visible}


def list_parts(gpu: Any, nvml: ModuleType) -> list[str] | None:
    """UUIDs of the parts into which a GPU is divided (MIG); None if it is not."""
    try:
        divided, _ = nvml.nvmlDeviceGetMigMode(gpu)
        most = nvml.nvmlDeviceGetMaxMigDeviceCount(gpu)
    except nvml.NVMLError:  # it cannot be divided
        return None
    uuids = []
    for i in range(most):
        with suppress(nvml.NVMLError):  # there are fewer than there could be
            uuids.append(nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, i)))
    return uuids if divided else None


def select_visible(names: str | None, uuids: Sequence[str]) -> list[int]:
    """The GPUs that CUDA shows.

    An entry that names no GPU, or more than one, hides itself and all that follow. A GPU that is named twice hides all.

    Parameters
    ----------
    names : str or None
        Value of ``CUDA_VISIBLE_DEVICES``; None if it is not set, which hides nothing.
    uuids : sequence of str
        Of every GPU, in the order of their numbers. An entry may be the beginning of one.

    Returns
    -------
    list of int
        Numbers, in the order of the entries.
    """
    if names is None:
        return list(range(len(uuids)))
    visible: list[int] = []
    for entry in names.split(","):
        if names.startswith("GPU-"):  # the first entry decides of which kind all are
            found = [i for i, uuid in enumerate(uuids) if entry.startswith("GPU-") and uuid.startswith(entry)]
        else:
            number = NUMBER.match(entry)
            found = [i for i in range(len(uuids)) if number and int(number[0]) == i]
        if len(found) != 1:
            break
        if found[0] in visible:
            return []
        visible += found
    return visible
