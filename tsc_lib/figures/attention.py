"""The figure of what a transformer looks at."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tsc_lib.figures.draw import new_figure, with_style
from tsc_lib.figures.palette import QUIET


@with_style
def attention_over_time(series: np.ndarray, attended: pd.DataFrame) -> Figure:
    """One series, and below it how much of the class token's attention each part of it gets in every layer.

    Parameters
    ----------
    series : ndarray, shape (channels, length)
        As the model receives it.
    attended : DataFrame
        From `tsc_lib.analysis.attention.attention_table`.

    Returns
    -------
    Figure
        Two panels on one axis of time.
    """
    shares = attended.pivot_table(index="layer", columns="start", values="share")
    edges = [*shares.columns, attended.end.max()]
    fig = new_figure(1.9 + 0.14 * len(shares))
    above, below = fig.subplots(2, 1, sharex=True, height_ratios=[1.2, 0.5 + 0.14 * len(shares)])
    above.plot(np.arange(series.shape[1]) + 0.5, series.T, linewidth=1, color=QUIET if len(series) == 1 else None)
    above.set_ylabel("scaled value")
    above.set_title("Where the class token looks", loc="left")
    grid = np.append(shares.index, shares.index.max() + 1) - 0.5
    image = below.pcolormesh(edges, grid, 100 * shares.to_numpy(), cmap="cividis", vmin=0)
    below.set_yticks([shares.index.min(), shares.index.max()])
    below.invert_yaxis()
    below.set_ylabel("layer")
    below.set_xlabel("time step")
    below.grid(visible=False)
    fig.colorbar(image, ax=[above, below], label="share of attention, %", fraction=0.04, pad=0.02)
    return fig
