"""Draw a graph of numbers with the values that flow forward and the gradients that flow back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Protocol

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch

from dlcvkit.plotting import COLOURS

VALUE, GRADIENT = COLOURS[0], "#bb3344"
_COLUMN, _ROW, _RADIUS = 2.0, 1.35, 0.33

Place = tuple[float, float]


class GraphNode(Protocol):
    """What is drawn: a number, what it was computed from, and the local derivative for each of these."""

    value: float
    grad: float
    name: str

    @property
    def parents(self) -> Sequence[Any]:
        """Nodes that it was computed from."""

    @property
    def slopes(self) -> Sequence[float]:
        """One local derivative per parent."""


def draw_graph(nodes: Sequence[GraphNode], *, title: str | None = None, decimals: int = 2) -> Figure:
    """Draw a graph from its inputs on the left to its root on the right.

    Every wire shows the value that it carries above it and what flows back along it, slope times gradient, below. A
    node that is used more than once shows the sum of what arrives.

    Args:
        nodes: All nodes of the graph, each after its parents, the root last.
        title: Heading of the figure.
        decimals: Digits after the decimal point.

    Returns:
        The figure.
    """
    places = _places(nodes)
    width = max(x for x, _ in places.values()) + 2.4
    heights = [y for _, y in places.values()]
    bottom, top = min(heights) - 0.85, max(heights) + 0.75
    figure, axis = plt.subplots(figsize=(0.72 * (width + 0.6), 0.72 * (top - bottom)), layout="constrained")
    axis.set_xlim(-0.6, width)
    axis.set_ylim(bottom, top)
    axis.set_aspect("equal")
    axis.axis("off")
    uses = Counter(id(parent) for node in nodes for parent in node.parents)
    for node in nodes:
        _draw_inputs(axis, node, places, decimals)
        _draw_node(axis, node, places[id(node)], decimals, is_shared=uses[id(node)] > 1)
    x, y = places[id(nodes[-1])]
    _draw_wire(axis, (x, y), (x + _COLUMN, y), nodes[-1].value, nodes[-1].grad, decimals)
    if title:
        axis.set_title(title, fontsize=11)
    plt.close(figure)  # returned, not shown twice
    return figure


def _places(nodes: Sequence[GraphNode]) -> dict[int, Place]:
    """Return where each node goes, by its id: columns by distance from the inputs, rows near those of its parents."""
    column: dict[int, int] = {}
    row: dict[int, float] = {}
    inputs = [node for node in nodes if not node.parents]
    for node in nodes:
        column[id(node)] = 1 + max((column[id(parent)] for parent in node.parents), default=-1)
    for node in inputs:  # next to where it is used first
        children = [column[id(child)] for child in nodes if any(parent is node for parent in child.parents)]
        column[id(node)] = min(children, default=1) - 1
    for number, node in enumerate(inputs):
        row[id(node)] = -float(number)
    for node in nodes:
        if node.parents:
            row[id(node)] = sum(row[id(parent)] for parent in node.parents) / len(node.parents)
    _spread(column, row)
    return {key: (_COLUMN * column[key], _ROW * row[key]) for key in column}


def _spread(column: dict[int, int], row: dict[int, float]) -> None:
    """Move the nodes of each column apart until they are a row from each other; ``row`` is modified."""
    for number in set(column.values()):
        stack = sorted((key for key in column if column[key] == number), key=lambda key: -row[key])
        for above, below in pairwise(stack):
            row[below] = min(row[below], row[above] - 1)


def _draw_inputs(axis: Axes, node: GraphNode, places: dict[int, Place], decimals: int) -> None:
    seen: Counter[int] = Counter()
    total = Counter(id(parent) for parent in node.parents)
    for parent, slope in zip(node.parents, node.slopes, strict=True):
        bend = 0.0 if total[id(parent)] == 1 else (0.45 if seen[id(parent)] else -0.45)
        seen[id(parent)] += 1
        start, end = places[id(parent)], places[id(node)]
        _draw_wire(axis, start, end, parent.value, slope * node.grad, decimals, bend=bend)


def _draw_node(axis: Axes, node: GraphNode, place: Place, decimals: int, *, is_shared: bool) -> None:
    face = "white" if node.parents else "#eef2f7"
    axis.add_patch(Circle(place, _RADIUS, facecolor=face, edgecolor="black", linewidth=1.1, zorder=3))
    axis.text(*place, node.name, ha="center", va="center", fontsize=10 if len(node.name) < 4 else 8, zorder=4)
    if is_shared:
        x, y = place
        text = f"sum {node.grad:.{decimals}f}"
        axis.text(x - 0.1, y - _RADIUS - 0.06, text, ha="center", va="top", fontsize=9, color=GRADIENT, zorder=4)


def _draw_wire(
    axis: Axes, start: Place, end: Place, value: float, gradient: float, decimals: int, *, bend: float = 0.0
) -> None:
    axis.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=11,
            color="#555555",
            linewidth=1.0,
            shrinkA=0,
            shrinkB=0.72 * 72 * _RADIUS,
            connectionstyle=f"arc3,rad={bend}",
            zorder=1,
        )
    )
    x = (start[0] + end[0]) / 2 + bend * (end[1] - start[1]) / 2
    y = (start[1] + end[1]) / 2 - bend * (end[0] - start[0]) / 2
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
    for text, side, colour in ((value, "bottom", VALUE), (gradient, "top", GRADIENT)):
        gap = 0.05 if side == "bottom" else -0.05
        label = f"{text:.{decimals}f}"
        axis.text(x, y + gap, label, ha="center", va=side, fontsize=9, color=colour, bbox=box, zorder=2)
