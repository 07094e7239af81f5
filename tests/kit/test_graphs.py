"""The drawing of scalar graphs: what it says on the wires, and where the nodes go."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from matplotlib.patches import Circle

from dlcvkit.graphs import draw_graph


@dataclass(eq=False)
class Node:
    value: float
    parents: tuple[Any, ...] = ()
    slopes: tuple[float, ...] = ()
    name: str = ""
    grad: float = field(default=0.0)


def square() -> list[Node]:
    x = Node(3.0, name="x", grad=6.0)
    return [x, Node(9.0, (x, x), (3.0, 3.0), "×", 1.0)]


def diamond() -> list[Node]:
    x, y, z = Node(1.0, name="x", grad=2.0), Node(2.0, name="y", grad=5.0), Node(0.5, name="z")
    total = Node(3.0, (x, y), (1.0, 1.0), "+", 2.0)
    largest = Node(2.0, (y, z), (1.0, 0.0), "max", 3.0)
    return [x, y, total, z, largest, Node(6.0, (total, largest), (2.0, 3.0), "×", 1.0)]


def texts(nodes: list[Node]) -> list[str]:
    (axis,) = draw_graph(nodes).axes
    return [text.get_text() for text in axis.texts]


def test_wires_show_values_and_what_flows_back_along_them():
    wires = "1.00 2.00 2.00 2.00 2.00 3.00 0.50 0.00 3.00 2.00 2.00 3.00 6.00 1.00".split()
    assert sorted(texts(diamond())) == sorted([*"xyz+×", "max", "sum 5.00", *wires])


def test_a_node_used_twice_by_one_gate_has_two_wires_and_their_sum():
    assert sorted(texts(square())) == ["1.00", "3.00", "3.00", "3.00", "3.00", "9.00", "sum 6.00", "x", "×"]


@pytest.mark.parametrize("nodes", [square(), diamond()], ids=["square", "diamond"])
def test_nodes_stand_apart_and_after_their_parents(nodes):
    (axis,) = draw_graph(nodes).axes
    centres = [patch.center for patch in axis.patches if isinstance(patch, Circle)]
    assert len(centres) == len(nodes)
    for number, (x, y) in enumerate(centres):
        assert all(abs(x - u) > 1 or abs(y - v) > 1 for u, v in centres[:number])
        for parent in nodes[number].parents:
            assert centres[next(i for i, node in enumerate(nodes) if node is parent)][0] < x
