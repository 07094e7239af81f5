"""Orders of a graph of numbers, and gradients accumulated along them, right and wrong."""

from __future__ import annotations

from collections import deque

from dlcvkit.checking import Case, Hidden, given, normal


def _recursive_order(root):
    order, met = [], set()

    def visit(node):
        if id(node) not in met:
            met.add(id(node))
            for parent in node.parents:
                visit(parent)
            order.append(node)

    visit(root)
    return order


def _by_counting_children(root):
    """Peel the graph from the root: a node is free once all its children are out."""
    waiting = {root: 0}
    found = [root]
    for node in found:
        for parent in node.parents:
            if parent not in waiting:
                waiting[parent] = 0
                found.append(parent)
            waiting[parent] += 1
    free, peeled = deque([root]), []
    while free:
        node = free.popleft()
        peeled.append(node)
        for parent in node.parents:
            waiting[parent] -= 1
            if waiting[parent] == 0:
                free.append(parent)
    return peeled[::-1]


def _by_marks(root):
    """Depth first with marks in a dict and a stack of iterators."""
    order, state = [], {id(root): "open"}
    stack = [(root, iter(root.parents))]
    while stack:
        node, rest = stack[-1]
        for parent in rest:
            if id(parent) not in state:
                state[id(parent)] = "open"
                stack.append((parent, iter(parent.parents)))
                break
        else:
            stack.pop()
            order.append(node)
    return tuple(order)


def _by_list_membership(root):
    """Slow, since it looks through lists, but right."""
    order, stack = [], [root]
    while stack:
        missing = [parent for parent in stack[-1].parents if parent not in order]
        if missing:
            stack.append(missing[-1])
        else:
            node = stack.pop()
            if node not in order:
                order.append(node)
    return order


def _by_distance(root):
    met, queue = {id(root)}, deque([root])
    found = []
    while queue:
        node = queue.popleft()
        found.append(node)
        for parent in node.parents:
            if id(parent) not in met:
                met.add(id(parent))
                queue.append(parent)
    return found[::-1]


def _before_its_parents(root):
    order, met, stack = [], set(), [root]
    while stack:
        node = stack.pop()
        if id(node) not in met:
            met.add(id(node))
            order.append(node)
            stack.extend(node.parents)
    return order[::-1]


def _with_repetitions(root):
    order, stack = [], [(root, False)]
    while stack:
        node, is_ready = stack.pop()
        if is_ready:
            order.append(node)
        else:
            stack.append((node, True))
            stack.extend((parent, False) for parent in node.parents)
    return order


def _all_ways_then_once(root):
    return list({id(node): node for node in _with_repetitions(root)}.values())


def _marked_when_pushed(root):
    """Depth first, but a node counts as met when it is put on the stack, not when it is taken off."""
    order, met, stack = [], {id(root)}, [(root, False)]
    while stack:
        node, is_ready = stack.pop()
        if is_ready:
            order.append(node)
            continue
        stack.append((node, True))
        for parent in node.parents:
            if id(parent) not in met:
                met.add(id(parent))
                stack.append((parent, False))
    return order


def _with_marks_on_nodes(root):
    """Leaves its marks on the nodes, so that a second call finds nothing."""
    order, stack = [], [(root, False)]
    while stack:
        node, is_ready = stack.pop()
        if is_ready:
            order.append(node)
        elif not getattr(node, "met", False):
            node.met = True
            stack.append((node, True))
            stack.extend((parent, False) for parent in node.parents)
    return order


_GRAPHS = [
    "an input alone",
    "nodes that the output does not need",
    "max(x, y) * max(y, z)",
    "gates with many inputs",
    "a long way and a short way",
    "two layers of neurons",
    "chain 6000",
]

topological_order = Hidden(
    cases=[*(Case(graph, graph=graph) for graph in _GRAPHS), Case("60 gates, 2^60 paths", graph="ladder 60")],
    mutants={
        "recursive": _recursive_order,
        "by distance from the root": _by_distance,
        "a node before its parents are finished": _before_its_parents,
        "a node once for every way": _with_repetitions,
        "walks every way, then drops repetitions": _all_ways_then_once,
        "marks a node when it is pushed": _marked_when_pushed,
        "root first": lambda root: _by_counting_children(root)[::-1],
        "without the root": lambda root: _by_counting_children(root)[:-1],
        "the inputs alone": lambda root: [node for node in _by_counting_children(root) if not node.parents],
        "the gates alone": lambda root: [node for node in _by_counting_children(root) if node.parents],
        "the root and its parents": lambda root: [*root.parents, root],
        "returns values": lambda root: [node.value for node in _by_counting_children(root)],
        "returns a set": lambda root: set(_by_counting_children(root)),
        "returns None": lambda root: None,
    },
    solutions={
        "by counting children": _by_counting_children,
        "by marks, a tuple": _by_marks,
        "by looking through the list": _by_list_membership,
    },
    equivalent={
        "topological_order: reversed(node.parents) -> node.parents": "gives another topological order",
    },
)


def _accumulating(
    root, *, order=_by_counting_children, reset=True, assign=False, seed=True, forward=False, slope=True, upstream=True
):
    """Walk back; each keyword switches a mistake on."""
    nodes = order(root)
    for node in nodes if reset else ():
        node.grad = 0.0
    if seed:
        root.grad = 1.0
    for node in nodes if forward else reversed(nodes):
        for parent, local in zip(node.parents, node.slopes, strict=True):
            amount = (local if slope else 1.0) * (node.grad if upstream else 1.0)
            parent.grad = amount if assign else parent.grad + amount


def _switched(**mistakes):
    return lambda root: _accumulating(root, **mistakes)


def _resets_inputs_alone(root):
    for node in _by_counting_children(root):
        if not node.parents:
            node.grad = 0.0
    _accumulating(root, reset=False)


def _resets_gates_alone(root):
    for node in _by_counting_children(root):
        if node.parents:
            node.grad = 0.0
    _accumulating(root, reset=False)


def _first_two_parents(root):
    nodes = _by_counting_children(root)
    for node in nodes:
        node.grad = 0.0
    root.grad = 1.0
    for node in reversed(nodes):
        for parent, local in list(zip(node.parents, node.slopes, strict=True))[:2]:
            parent.grad += local * node.grad


def _by_dict_of_slopes(root):
    """Loses one of two wires between the same nodes."""
    nodes = _by_counting_children(root)
    for node in nodes:
        node.grad = 0.0
    root.grad = 1.0
    for node in reversed(nodes):
        for parent, local in dict(zip(node.parents, node.slopes, strict=True)).items():
            parent.grad += local * node.grad


def _pushing_along_every_way(root):
    """Right, but walks every way from the root to the inputs one by one."""
    for node in _by_counting_children(root):
        node.grad = 0.0
    stack = [(root, 1.0)]
    while stack:
        node, amount = stack.pop()
        node.grad += amount
        stack.extend((p, amount * s) for p, s in zip(node.parents, node.slopes, strict=True))


def _recursive_push(root):
    for node in _recursive_order(root):
        node.grad = 0.0

    def push(node, amount):
        node.grad += amount
        for parent, local in zip(node.parents, node.slopes, strict=True):
            push(parent, amount * local)

    push(root, 1.0)


def _root_adds_one(root):
    nodes = _by_counting_children(root)
    for node in nodes[:-1]:
        node.grad = 0.0
    root.grad += 1.0
    for node in reversed(nodes):
        for parent, local in zip(node.parents, node.slopes, strict=True):
            parent.grad += local * node.grad


def _of_inputs_alone(root):
    _accumulating(root)
    for node in _by_counting_children(root):
        if node.parents and node is not root:
            node.grad = 0.0


def _pulling(root):
    """Each node collects from its children."""
    nodes = _by_counting_children(root)
    children = {id(node): [] for node in nodes}
    for node in nodes:
        for parent, local in zip(node.parents, node.slopes, strict=True):
            children[id(parent)].append((node, local))
    for node in reversed(nodes):
        node.grad = 1.0 if node is root else sum(local * child.grad for child, local in children[id(node)])


def _in_a_dict(root):
    """Gathers all gradients in a dict first."""
    gradients = {root: 1.0}
    order = _by_marks(root)
    for node in order[::-1]:
        gradient = gradients.setdefault(node, 0.0)
        for number, parent in enumerate(node.parents):
            gradients[parent] = gradients.get(parent, 0) + gradient * node.slopes[number]
    for node, gradient in gradients.items():
        node.grad = gradient


def _forward_for_each(root):
    """Forward mode, one pass for every node: n times the work, and right."""
    order = _by_marks(root)
    if len(order) > 200:
        return _in_a_dict(root)
    for start in order:
        tangents = {}
        for node in order:
            ways = zip(node.parents, node.slopes, strict=True)
            tangents[id(node)] = 1.0 if node is start else sum(s * tangents.get(id(p), 0.0) for p, s in ways)
        start.grad = tangents[id(root)]
    return None


topological_backward = Hidden(
    cases=[
        *(
            Case(graph, graph=graph, leaves=normal(count))
            for graph, count in zip(_GRAPHS, (1, 2, 3, 5, 1, 6, 1), strict=True)
        ),
        Case("equal inputs of max", graph="max(x, y) * max(y, z)", leaves=given([2.0, 2.0, 2.0])),
        Case("60 gates, 2^60 paths", graph="ladder 60", leaves=normal(1)),
        Case("all zero", graph="two layers of neurons", leaves=given([0.0] * 6)),
        Case("numbers of 1e4", graph="gates with many inputs", leaves=normal(5, std=1e4)),
        Case("float32", graph="two layers of neurons", leaves=normal(6)).float32(),
    ],
    mutants={
        "overwrites": _switched(assign=True),
        "never resets": _switched(reset=False),
        "resets the inputs alone": _resets_inputs_alone,
        "resets the gates alone": _resets_gates_alone,
        "does not start at the root": _switched(seed=False),
        "walks forward": _switched(forward=True),
        "leaves the slopes out": _switched(slope=False),
        "leaves the upstream gradient out": _switched(upstream=False),
        "goes by distance from the root": _switched(order=_by_distance),
        "recursive": _switched(order=_recursive_order),
        "recursive from every node": _recursive_push,
        "two parents at most": _first_two_parents,
        "loses the second of two equal parents": _by_dict_of_slopes,
        "walks along every way": _pushing_along_every_way,
        "adds one to the root": _root_adds_one,
        "leaves gates without a gradient": _of_inputs_alone,
        "does nothing": lambda root: None,
    },
    solutions={
        "pulls instead of pushing": _pulling,
        "in a dict": _in_a_dict,
        "forward mode for every node": _forward_for_each,
    },
    equivalent={
        "topological_backward: zip(node.parents, node.slopes, strict=True) -> zip(node.parents, node.slopes)": (
            "every node has as many slopes as parents"
        ),
        "topological_backward: zip(node.parents, node.slopes, strict=True) -> "
        "zip(node.parents, node.slopes, strict=False)": "every node has as many slopes as parents",
    },
)
