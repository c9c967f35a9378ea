"""Logarithmic axes that are easy to read."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import Locator, LogLocator, NullFormatter, StrMethodFormatter


class FewTicks(Locator):
    """Ticks of a logarithmic axis at round numbers, as coarse as leaves three of them."""

    STEPS = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7))

    def __call__(self) -> list[float]:
        assert self.axis is not None  # set by the axis that takes it
        return self.tick_values(*self.axis.get_view_interval())

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        """Ticks from `vmin` to `vmax`."""
        decades = 10.0 ** np.arange(np.floor(np.log10(vmin)), np.ceil(np.log10(vmax)) + 1)
        for steps in self.STEPS:
            ticks = [tick for tick in np.outer(decades, steps).ravel().tolist() if vmin <= tick <= vmax]
            if len(ticks) >= 3:
                break
        return ticks


def plain_log(ax: Axes, which: str = "x") -> None:
    """Make the x or the y axis logarithmic, with few ticks and plain numbers."""
    ax.set(**{f"{which}scale": "log"})
    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_major_locator(FewTicks())
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_locator(LogLocator(subs="auto"))
    axis.set_minor_formatter(NullFormatter())
