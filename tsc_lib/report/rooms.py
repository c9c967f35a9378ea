"""The rooms of the package and which imports which, drawn from the code and from the floors that it keeps."""

from __future__ import annotations

import tomllib
from pathlib import Path

import grimp
import networkx as nx
from matplotlib.figure import Figure

from tsc_lib.core.files import PACKAGE
from tsc_lib.figures import draw

BOX = {"boxstyle": "round,pad=0.45", "facecolor": "#EAF3FA", "edgecolor": "#0072B2"}


def list_floors(settings: Path) -> list[list[str]]:
    """The floors of the house from the top, each with its rooms, as the settings of import-linter have them."""
    contract = tomllib.loads(settings.read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"][0]
    return [[room.strip() for room in floor.split("|")] for floor in contract["layers"]]


def find_imports() -> nx.DiGraph:
    """Which room imports which, by the code."""
    graph = grimp.build_graph(PACKAGE.name, cache_dir=None)
    rooms = sorted(graph.find_children(PACKAGE.name))
    for room in rooms:
        graph.squash_module(room)
    found = nx.DiGraph()
    for room in rooms:
        for other in graph.find_modules_directly_imported_by(room):
            if other in rooms and other != room:
                found.add_edge(room.rpartition(".")[2], other.rpartition(".")[2])
    return found


@draw.with_style
def draw_rooms(floors: list[list[str]], imports: nx.DiGraph) -> Figure:
    """The rooms on their floors; an arrow leads to what a room imports, unless a room between them does so too."""
    fig = draw.new_figure(0.46 * len(floors) + 0.2)
    ax = fig.add_subplot()
    ax.set_axis_off()
    shifts = (0.0, 0.1, -0.1, 0.2, -0.2)  # so that an arrow past a floor misses its room
    places = {}
    for height, rooms in enumerate(reversed(floors)):
        for number, room in enumerate(rooms):
            places[room] = (0.5 + shifts[height % 5] + 0.3 * (number - (len(rooms) - 1) / 2), height)
            ax.text(*places[room], room, ha="center", va="center", bbox=BOX, zorder=3)
    for room, other in nx.transitive_reduction(imports).edges:
        arrow = {"arrowstyle": "->", "color": "#777777", "shrinkA": 8, "shrinkB": 16}
        ax.annotate("", places[other], xytext=places[room], arrowprops=arrow)
    ax.set_xlim(0, 1)
    ax.set_ylim(-0.5, len(floors) - 0.5)
    return fig
