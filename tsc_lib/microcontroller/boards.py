"""Processors that a model is compiled for, the boards that QEMU imitates, and devices whose power others measured."""

from __future__ import annotations

from dataclasses import dataclass

CYCLES_PER_INSTRUCTION = 1.0
"""What a modelled time assumes. Waiting for flash and for operands takes more; only Cortex-M7 can take less."""


@dataclass(frozen=True)
class Device:
    """A microcontroller that one can buy.

    Attributes
    ----------
    name : str
        Of the device.
    clock_mhz : float
        Its clock when its power was measured.
    power_mw : float
        What it took while it classified.
    source : str
        Who measured that, and where it is published.
    """

    name: str
    clock_mhz: float
    power_mw: float
    source: str

    @property
    def nj_per_instruction(self) -> float:
        """Energy of one instruction, at `CYCLES_PER_INSTRUCTION`."""
        return CYCLES_PER_INSTRUCTION * self.power_mw / self.clock_mhz

    def model_ms(self, instructions: float) -> float:
        """Modelled time of so many instructions."""
        return CYCLES_PER_INSTRUCTION * instructions / self.clock_mhz / 1000

    def model_mj(self, instructions: float) -> float:
        """Modelled energy of so many instructions."""
        return self.nj_per_instruction * instructions / 1e6


@dataclass(frozen=True)
class Processor:
    """A kind of processor and the board with it that QEMU imitates.

    Attributes
    ----------
    name : str
        As compilers call it.
    options : tuple of str
        Of the compiler, for its floating-point unit.
    machine : str
        The board, as QEMU calls it.
    tick_ns : float
        Imitated time between two ticks of its SysTick; one instruction takes one imitated nanosecond.
    flash_kb, ram_kb : int
        Memory of the board.
    device : Device, optional
        With such a processor, for modelled time and energy; None where no public measurement was found.
    """

    name: str
    options: tuple[str, ...]
    machine: str
    tick_ns: float
    flash_kb: int
    ram_kb: int
    device: Device | None


def _measured(name: str, clock_mhz: float, power_mw: float) -> Device:
    """A device as MLPerf Tiny had it: the median power while it spotted keywords."""
    where = f"closed/Krai/results/{name}_X-CUBE-AI-8.0/kws/energy"
    return Device(name, clock_mhz, power_mw, f"MLPerf Tiny v1.1, mlcommons/tiny_results_v1.1, {where}")


_FPU = "-mfloat-abi=hard"

_L4 = _measured("NUCLEO-L4R5ZI", clock_mhz=120, power_mw=75.34)
_H7 = _measured("NUCLEO-H7A3ZI-Q", clock_mhz=280, power_mw=141.68)

PROCESSORS = {
    each.name: each
    for each in (
        Processor("cortex-m4", (_FPU, "-mfpu=fpv4-sp-d16"), "mps2-an386", 40.0, 4096, 4096, _L4),
        Processor("cortex-m7", (_FPU, "-mfpu=fpv5-d16"), "mps2-an500", 40.0, 4096, 4096, _H7),
        Processor("cortex-m55", (_FPU,), "mps3-an547", 31.25, 512, 512, device=None),
    )
}
"""By their names."""

PUBLISHED_MJ = {
    ("keyword spotting", "cortex-m4"): 5.482,
    ("keyword spotting", "cortex-m7"): 2.362,
    ("anomaly detection", "cortex-m4"): 0.529,
    ("anomaly detection", "cortex-m7"): 0.236,
}
"""Measured millijoules an inference of MLPerf Tiny's tasks, in int8 on the devices above, by the same source."""
