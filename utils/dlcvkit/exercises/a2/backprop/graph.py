"""Order and accumulation on a graph of numbers, tried on graphs that are described by programs."""

from __future__ import annotations

import math
from collections import Counter

import torch

from dlcvkit.checking import Case, Function, Invariant, Mistake, normal


class _Node:
    """A number with what it was computed from: the attributes that the notebook's class has."""

    def __init__(self, value, parents=(), slopes=()):
        self.value, self.parents, self.slopes = value, parents, slopes
        self.grad = 0.0
        self.name = ""


# A gate: numbers to (value, local derivatives).
_GATES = {
    "add": lambda a, b: (a + b, (1.0, 1.0)),
    "mul": lambda a, b: (a * b, (b, a)),
    "max": lambda a, b: (max(a, b), (1.0, 0.0) if a >= b else (0.0, 1.0)),
    "tanh": lambda a: (math.tanh(a), (1 - math.tanh(a) ** 2,)),
    "grow": lambda a: (1.25 * a, (1.25,)),
    "shrink": lambda a: (0.8 * a, (0.8,)),
    "average": lambda *v: (sum(v) / len(v), (1 / len(v),) * len(v)),
    "dot": lambda a, b, c, d: (a * b + c * d, (b, a, d, c)),
}


def _chain(length):
    """Multiply by 5/4 and 4/5 in turn."""
    gates = [("grow" if step % 2 else "shrink", step) for step in range(length)]
    return [("leaf",), *gates], length


def _ladder(rungs):
    """Average a number with itself, again and again: 2 to the power of ``rungs`` paths lead to the input."""
    return [("leaf",), *(("average", rung, rung) for rung in range(rungs))], rungs


# Name to (program, index of the root). An instruction is a gate and the indices of its arguments.
_PROGRAMS = {
    "(x + y) * z": ([("leaf",), ("leaf",), ("leaf",), ("add", 0, 1), ("mul", 3, 2)], 4),
    "x * x": ([("leaf",), ("mul", 0, 0)], 1),
    "x * y + x": ([("leaf",), ("leaf",), ("mul", 0, 1), ("add", 2, 0)], 3),
    "a * (b + tanh(a)), a = x + y": (
        [("leaf",), ("leaf",), ("leaf",), ("add", 0, 1), ("tanh", 3), ("add", 2, 4), ("mul", 3, 5)],
        6,
    ),
    "an input alone": ([("leaf",)], 0),
    "nodes that the output does not need": (
        [("leaf",), ("leaf",), ("mul", 0, 1), ("tanh", 1), ("tanh", 2), ("add", 3, 0), ("mul", 4, 2)],
        4,
    ),
    "max(x, y) * max(y, z)": ([("leaf",), ("leaf",), ("leaf",), ("max", 0, 1), ("max", 1, 2), ("mul", 3, 4)], 5),
    "gates with many inputs": (
        [
            *[("leaf",)] * 5,
            ("dot", 0, 1, 2, 3),
            ("average", 5, 0, 4, 5, 2),
            ("dot", 6, 5, 6, 4),
            ("average", 7, 6, 5, 3, 7, 7),
        ],
        8,
    ),
    "a long way and a short way": (
        [("leaf",), ("tanh", 0), ("tanh", 1), ("tanh", 2), ("mul", 0, 3), ("add", 1, 4), ("mul", 5, 0)],
        6,
    ),
    "two layers of neurons": (
        [
            *[("leaf",)] * 6,
            ("dot", 0, 2, 1, 3),
            ("dot", 0, 4, 1, 5),
            ("tanh", 6),
            ("tanh", 7),
            ("dot", 8, 2, 9, 4),
            ("dot", 8, 3, 9, 5),
            ("mul", 10, 11),
        ],
        12,
    ),
}
_BY_SIZE = {"chain": _chain, "ladder": _ladder}


def _program(graph):
    """Return a program and the index of its root; ``chain 4000`` and ``ladder 12`` are made to measure."""
    if graph in _PROGRAMS:
        return _PROGRAMS[graph]
    name, size = graph.split()
    return _BY_SIZE[name](int(size))


def _nodes(program, leaves):
    """Return the nodes of a program, its leaves filled with numbers in order."""
    given, nodes = iter(leaves), []
    for gate, *arguments in program:
        if gate == "leaf":
            nodes.append(_Node(next(given)))
        else:
            parents = tuple(nodes[index] for index in arguments)
            value, slopes = _GATES[gate](*(parent.value for parent in parents))
            nodes.append(_Node(value, parents, slopes))
    return nodes


def _order(topological_order, graph):
    """Return the indices of the nodes in the student's order, -1 for what is no node of the graph."""
    program, root = _program(graph)
    nodes = _nodes(program, [0.5] * len(program))
    index = {id(node): number for number, node in enumerate(nodes)}
    result = topological_order(nodes[root])
    return [index.get(id(node), -1) for node in result] if isinstance(result, list | tuple) else result


def _ancestors(program, root):
    """Return the indices of the nodes that the root is computed from, and its own."""
    found = {root}
    for number in range(root, -1, -1):
        if number in found:
            found.update(program[number][1:])
    return found


def _not_a_list(result):
    if isinstance(result, list | tuple):
        return None
    got = "None" if result is None else f"a {type(result).__name__}"
    return f"topological_order returned {got}; expected a list of nodes"


def _is_complete(result, graph):
    problem = _not_a_list(result)
    if problem is not None:
        return problem
    wanted = _ancestors(*_program(graph))
    count = Counter(result)
    if count[-1]:
        return f"{count[-1]} entries of the list are no nodes of the graph"
    repeated = sum(1 for times in count.values() if times > 1)
    if repeated:
        return f"{repeated} of {len(wanted)} nodes are listed more than once; expected each of them once"
    strangers, missing = set(result) - wanted, wanted - set(result)
    if strangers:
        return f"{len(strangers)} nodes are listed that the root does not depend on"
    return f"{len(missing)} of {len(wanted)} nodes are missing" if missing else None


def _is_ordered(result, graph):
    problem = _not_a_list(result)
    if problem is not None:
        return problem
    program, root = _program(graph)
    if not result or result[-1] != root:
        where = "first" if result and result[0] == root else "elsewhere or missing"
        return f"the root is {where}; expected it to be the last of the list"
    place = {}
    for position, number in enumerate(result):
        place.setdefault(number, position)
    early = [
        (number, parent)
        for number in place
        if number >= 0
        for parent in program[number][1:]
        if parent in place and place[parent] > place[number]
    ]
    if early:
        return f"{len({number for number, _ in early})} of {len(place)} nodes stand before one of their parents"
    return None


topological_order = Invariant(
    functions=("topological_order",),
    cases=[
        Case("(x + y) * z", graph="(x + y) * z"),
        Case("x * x", graph="x * x"),
        Case("x * y + x", graph="x * y + x"),
        Case("a * (b + tanh(a)), a = x + y", graph="a * (b + tanh(a)), a = x + y"),
        Case("a chain of 4000 gates", graph="chain 4000"),
        Case("12 gates, 4096 paths", graph="ladder 12"),
    ],
    properties={"complete": _is_complete, "order": _is_ordered},
    points={"complete": 2, "order": 2},
    hints={
        "complete": "remember which nodes you have met: each is listed once, however many ways lead to it",
        "order": "when may a node be appended: when you first meet it, or when all its parents are in the list?",
    },
    call=_order,
)


def _backward(topological_backward, graph, leaves):
    """Return the gradients of all nodes after one call, and after a second one on the same graph."""
    program, root = _program(graph)
    nodes = _nodes(program, leaves.tolist())
    found = []
    for _ in range(2):
        topological_backward(nodes[root])
        # A tensor, so that thousands of numbers are compared in one go.
        found.append(leaves.new_tensor([_number(node.grad) for node in nodes], dtype=torch.float64))
    return tuple(found)


def _number(gradient):
    """Return a gradient as a float; NaN, which never passes, for what is none."""
    try:
        return float(gradient)
    except (TypeError, ValueError, RuntimeError):
        return math.nan


_TORCH_GATES = {
    "add": torch.add,
    "mul": torch.mul,
    "max": lambda a, b: torch.where(a >= b, a, b),
    "tanh": torch.tanh,
    "grow": lambda a: 1.25 * a,
    "shrink": lambda a: 0.8 * a,
    "average": lambda *v: sum(v) / len(v),
    "dot": lambda a, b, c, d: a * b + c * d,
}


def _gradients_by_torch(graph, leaves):
    program, root = _program(graph)
    given = iter(leaves.double())
    values = []
    with torch.enable_grad():
        for gate, *arguments in program:
            if gate == "leaf":
                values.append(next(given).detach().clone().requires_grad_())
            else:
                values.append(_TORCH_GATES[gate](*(values[index] for index in arguments)))
        gradients = torch.autograd.grad(values[root], values, allow_unused=True)
    return torch.stack([torch.zeros_like(values[0]) if gradient is None else gradient for gradient in gradients])


# What wrong accumulation gives is told by linear algebra instead of a walk through the graph: with A[i, j] the
# derivative of node i by its parent j, the gradients of all nodes solve g = start + A^T g.


def _edges(graph, leaves):
    """Return the derivatives along the edges as (node, parent, position among its parents, slope, parent's value)."""
    program, root = _program(graph)
    if len(program) > 50:
        raise ValueError("too large to solve")  # so that a mistake is looked for in the small graphs alone
    nodes = _nodes(program, leaves.tolist())
    return [
        (number, parent, position, nodes[number].slopes[position], nodes[parent].value)
        for number in sorted(_ancestors(program, root))
        for position, parent in enumerate(program[number][1:])
    ]


def _solved(edges, start):
    """Return the g of ``g = start + A^T g``; ``edges`` holds (node, parent, amount)."""
    matrix = torch.zeros(len(start), len(start), dtype=torch.float64)
    for number, parent, amount in edges:
        matrix[number, parent] += amount
    return torch.linalg.solve(torch.eye(len(start), dtype=torch.float64) - matrix.T, start)


def _start(graph, value=1.0):
    program, root = _program(graph)
    start = torch.zeros(len(program), dtype=torch.float64)
    start[root] = value
    return start


def _with_amounts(amount):
    """The mistake of another amount per edge, ``amount(slope, value of the parent)``."""

    def variant(graph, leaves):
        edges = [(i, j, amount(slope, value)) for i, j, _, slope, value in _edges(graph, leaves)]
        gradient = _solved(edges, _start(graph))
        return gradient, gradient

    return variant


def _with_last_of(key):
    """The mistake of keeping one edge, the last that is met from the root, of all that agree in ``key(i, j)``."""

    def variant(graph, leaves):
        kept = {}
        for i, j, _, slope, _ in sorted(_edges(graph, leaves), key=lambda edge: (-edge[0], edge[2])):
            kept[key(i, j)] = (i, j, slope)
        gradient = _solved(kept.values(), _start(graph))
        return gradient, gradient

    return variant


def _without_upstream(graph, leaves):
    gradient = _start(graph)
    for _, parent, _, slope, _ in _edges(graph, leaves):
        gradient[parent] += slope
    return gradient, gradient


def _direct_parents_only(graph, leaves):
    gradient = _start(graph)
    root = int(gradient.argmax())
    for number, parent, _, slope, _ in _edges(graph, leaves):
        gradient[parent] += slope if number == root else 0.0
    return gradient, gradient


def _from_stale_gradients(root_restarts):
    """The mistake of adding to what an earlier call left behind."""

    def variant(graph, leaves):
        edges = [(i, j, slope) for i, j, _, slope, _ in _edges(graph, leaves)]
        first = _solved(edges, _start(graph))
        fresh = _start(graph)
        stale = first + (0.0 if root_restarts else 1.0) * fresh
        return first, _solved(edges, stale)

    return variant


topological_backward = Function(
    functions=("topological_backward",),
    reference=lambda graph, leaves: (_gradients_by_torch(graph, leaves),) * 2,
    call=_backward,
    cases=[
        Case("(x + y) * z", graph="(x + y) * z", leaves=normal(3)),
        Case("x * x", graph="x * x", leaves=normal(1, mean=3.0)),
        Case("x * y + x", graph="x * y + x", leaves=normal(2)),
        Case("a * (b + tanh(a)), a = x + y", graph="a * (b + tanh(a)), a = x + y", leaves=normal(3)),
        Case("a chain of 4000 gates", graph="chain 4000", leaves=normal(1)),
    ],
    points={"grad": 4, "grad_again": 2},
    mistakes=[
        Mistake(
            "overwrites the gradient of a node that is used more than once",
            _with_last_of(lambda i, j: j),
            hint="each use of a node adds its own contribution: what is in grad already must stay",
        ),
        Mistake(
            "counts a node once that stands twice among the parents of another",
            _with_last_of(lambda i, j: (i, j)),
            hint="in x * x both parents are the same node, and both slopes count",
        ),
        Mistake(
            "leaves the slopes out",
            _with_amounts(lambda slope, value: 1.0),
            hint="what arrives at a parent is the node's gradient times the local derivative of that edge",
        ),
        Mistake(
            "multiplies by the value of the parent instead of the slope",
            _with_amounts(lambda slope, value: value),
            hint="node.slopes holds one local derivative per parent, in the order of node.parents",
        ),
        Mistake(
            "divides by the slope",
            _with_amounts(lambda slope, value: 1 / slope),
            hint="gradient flows back along an edge by multiplying with its slope",
        ),
        Mistake(
            "leaves the upstream gradient out",
            _without_upstream,
            hint="a slope says how the child moves; how the output moves with the child stands in child.grad",
        ),
        Mistake(
            "stops at the root's own parents",
            _direct_parents_only,
            hint="every node of the order passes its gradient on, not the root alone",
        ),
        Mistake(
            "adds to the gradients of an earlier call",
            _from_stale_gradients(root_restarts=True),
            hint="what stood in grad before the call must not count: when does each grad have to start from zero?",
        ),
        Mistake(
            "adds to the gradients of an earlier call, the root's too",
            _from_stale_gradients(root_restarts=False),
            hint="what stood in grad before the call must not count: when does each grad have to start from zero?",
        ),
        Mistake(
            "gives all nodes the gradient of the root",
            lambda graph, leaves: (torch.ones_like(_start(graph)),) * 2,
            hint="only the root has a gradient of 1; all others are computed from their children",
        ),
    ],
)
