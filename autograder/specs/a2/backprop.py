"""Hidden cases, mutants and other solutions for solutions/a2/backprop.py."""

from __future__ import annotations

from collections import deque

import torch

from dlcvkit.checking import Case, Hidden, given, normal


def _pair(*shape, **options):
    return {name: normal(*shape, **options) for name in ("x", "y", "dout")}


_PAIR_CASES = [
    Case("one number", **_pair(1)),
    Case("no axis", **_pair()),
    Case("float32", **_pair(4, 3)).float32(),
    Case("four axes with gaps", **_pair(2, 3, 1, 2)).strided(),
    Case("numbers of 1e6", x=normal(5, std=1e6), y=normal(5), dout=normal(5, std=1e3)),
    Case("zeros", x=given([0.0, 0.0, 1.5, -2.0]), y=given([0.0, 3.0, 0.0, -2.0]), dout=normal(4)),
    Case("no upstream gradient", x=normal(3, 2), y=normal(3, 2), dout=given([[0.0] * 2] * 3)),
]


def _remember(function):
    """Return a forward function that keeps its inputs and output in a dict, with more than is needed."""

    def forward(*inputs):
        out = function(*inputs)
        return out, {"inputs": inputs, "out": out, "shape": out.shape, "more": [None]}

    return forward


def _as_list(function):
    """Return a backward function, ``function(dout, *inputs)``, that gives its gradients as a list."""
    return lambda dout, cache: list(function(dout, *cache["inputs"]))


def _entries(function):
    """Return a function that works entry by entry in a Python loop."""

    def looped(*tensors):
        flat = [tensor.reshape(-1) for tensor in tensors]
        out = torch.empty_like(flat[0])
        for i in range(len(out)):
            out[i] = function(*(part[i] for part in flat))
        return out.reshape(tensors[0].shape)

    return looped


def _scaled_in_place(dout, cache):
    dout *= 2
    return dout / 2, dout / 2


_add_forward = _remember(lambda x, y: x + y)

add_gate = Hidden(
    cases=_PAIR_CASES,
    mutants={
        "changes the upstream gradient": (_add_forward, _scaled_in_place),
        "changes x": (lambda x, y: (x.add_(y), None), lambda dout, cache: (dout, dout)),
        "returns no cache": (lambda x, y: x + y, lambda dout, cache: (dout, dout)),
        "returns one gradient": (_add_forward, lambda dout, cache: dout),
        "sums the gradient up": (_add_forward, lambda dout, cache: (dout.sum(), dout.sum())),
        "takes the sign of the gradient": (_add_forward, lambda dout, cache: (dout.sign(), dout.sign())),
        "subtracts in backward": (_add_forward, lambda dout, cache: (dout, -dout)),
        "always float64": (_add_forward, lambda dout, cache: (dout.double(), dout.double())),
        "uses autograd": (
            _add_forward,
            lambda dout, cache: torch.autograd.grad(sum(v.requires_grad_() for v in cache["inputs"]), cache["inputs"]),
        ),
    },
    solutions={
        "a dict as cache, a list of gradients": (_add_forward, _as_list(lambda dout, x, y: (dout.clone(), dout * 1))),
        "entry by entry, ones as slopes": (
            lambda x, y: (_entries(lambda a, b: a + b)(x, y), (torch.ones_like(x), torch.ones_like(y))),
            lambda dout, cache: (dout * cache[0], dout * cache[1]),
        ),
        "minus the negative": (lambda x, y: (x - -y, ()), lambda dout, cache: (dout.neg().neg(), dout + 0)),
    },
)

_mul_forward = _remember(lambda x, y: x * y)

mul_gate = Hidden(
    cases=_PAIR_CASES,
    mutants={
        "divides the output by its inputs": (
            _mul_forward,
            lambda dout, cache: tuple(dout * cache["out"] / v for v in cache["inputs"]),
        ),
        "changes the upstream gradient": (
            _mul_forward,
            lambda dout, cache: (dout * cache["inputs"][1], dout.mul_(cache["inputs"][0])),
        ),
        "swaps the gradients": (
            lambda x, y: (x * y, (x, y)),
            lambda dout, cache: (dout * cache[0], dout * cache[1]),
        ),
        "returns one gradient": (_mul_forward, lambda dout, cache: dout * cache["inputs"][1]),
        "takes absolute values": (
            _mul_forward,
            lambda dout, cache: (dout * cache["inputs"][1].abs(), dout * cache["inputs"][0].abs()),
        ),
        "sums the gradient up": (
            _mul_forward,
            lambda dout, cache: ((dout * cache["inputs"][1]).sum(), (dout * cache["inputs"][0]).sum()),
        ),
        "multiplies matrices": (
            lambda x, y: (x @ y.mT, (x, y)),
            lambda dout, cache: (dout @ cache[1], dout @ cache[0]),
        ),
    },
    solutions={
        "a dict as cache, a list of gradients": (
            _mul_forward,
            _as_list(lambda dout, x, y: (torch.mul(y, dout), torch.mul(x, dout))),
        ),
        "entry by entry": (
            lambda x, y: (_entries(lambda a, b: a * b)(x, y), (y.clone(), x.clone())),
            lambda dout, cache: tuple(_entries(lambda a, b: a * b)(dout, slope) for slope in cache),
        ),
        "by einsum": (
            lambda x, y: (torch.einsum("...,...->...", x, y), (x, y)),
            lambda dout, cache: (torch.einsum("...,...->...", dout, cache[1]), cache[0].mul(dout)),
        ),
    },
)

_max_forward = _remember(lambda x, y: torch.maximum(x, y))


def _max_by_masks(dout, cache):
    x, y = cache["inputs"]
    dx, dy = dout.clone(), dout.clone()
    dx[x < y] = 0
    dy[~(x < y)] = 0
    return dx, dy


def _max_backward_in_place(dout, cache):
    x, y = cache["inputs"]
    dy = torch.where(y > x, dout, torch.zeros_like(dout))
    dout[y > x] = 0
    return dout, dy


max_gate = Hidden(
    cases=[
        *_PAIR_CASES,
        Case("all equal", x=given([2.0, 2.0, -2.0]), y=given([2.0, 2.0, -2.0]), dout=normal(3)),
        Case("the first always larger", x=normal(3, 2, mean=9.0), y=normal(3, 2, mean=-9.0), dout=normal(3, 2)),
        Case("the second always larger", x=normal(3, 2, mean=-9.0), y=normal(3, 2, mean=9.0), dout=normal(3, 2)),
        Case("numbers of -1e8", x=normal(5, std=1e8, mean=-1e9), y=normal(5, std=1e8, mean=-1e9), dout=normal(5)),
    ],
    mutants={
        "changes the upstream gradient": (_max_forward, _max_backward_in_place),
        "compares absolute values": (
            lambda x, y: (torch.where(x.abs() >= y.abs(), x, y), (x, y)),
            lambda dout, cache: (dout * (cache[0].abs() >= cache[1].abs()), dout * (cache[0].abs() < cache[1].abs())),
        ),
        "one winner for the whole tensor": (
            _max_forward,
            lambda dout, cache: (
                (dout, torch.zeros_like(dout))
                if cache["inputs"][0].sum() >= cache["inputs"][1].sum()
                else (torch.zeros_like(dout), dout)
            ),
        ),
        "equal means nearly equal": (
            _max_forward,
            lambda dout, cache: (
                dout * (cache["inputs"][0] >= cache["inputs"][1] - 0.3),
                dout * (cache["inputs"][0] < cache["inputs"][1] - 0.3),
            ),
        ),
        "is a ReLU of the first": (
            lambda x, y: (x.clamp(min=0), x),
            lambda dout, cache: (dout * (cache > 0), torch.zeros_like(dout)),
        ),
        "returns masks": (
            _max_forward,
            lambda dout, cache: (cache["inputs"][0] >= cache["inputs"][1], cache["inputs"][0] < cache["inputs"][1]),
        ),
        "compares with the output for both": (
            _max_forward,
            lambda dout, cache: tuple(dout * (v == cache["out"]) for v in cache["inputs"]),
        ),
    },
    solutions={
        "by masks": (_max_forward, _max_by_masks),
        "the rest for the second": (
            lambda x, y: (x + (y - x).clamp(min=0), (x >= y).to(x.dtype)),
            lambda dout, cache: [dout * cache, dout - dout * cache],
        ),
        "by where": (
            _max_forward,
            lambda dout, cache: (
                torch.where(cache["inputs"][0] == cache["out"], dout, 0.0),
                torch.where(cache["inputs"][0] == cache["out"], 0.0, dout),
            ),
        ),
    },
)


def _copies(*shape, **options):
    return {name: normal(*shape, **options) for name in ("x", "dfirst", "dsecond")}


def _copy_backward_in_place(dfirst, dsecond, cache):
    dfirst += dsecond
    return dfirst


def _twice(x):
    return x, x, None


copy_gate = Hidden(
    cases=[
        Case("one number", **_copies(1)),
        Case("no axis", **_copies()),
        Case("float32", **_copies(3, 2)).float32(),
        Case("four axes with gaps", **_copies(2, 1, 3, 2)).strided(),
        Case("equal gradients", x=normal(3), dfirst=given([1.0, -2.0, 0.5]), dsecond=given([1.0, -2.0, 0.5])),
        Case("gradients of very different size", x=normal(4), dfirst=normal(4, std=1e6), dsecond=normal(4)),
        Case("one copy without a gradient", x=normal(4), dfirst=given([0.0] * 4), dsecond=normal(4)),
    ],
    mutants={
        "changes an upstream gradient": (_twice, _copy_backward_in_place),
        "takes the larger gradient": (_twice, lambda dfirst, dsecond, cache: torch.maximum(dfirst, dsecond)),
        "doubles the first gradient": (_twice, lambda dfirst, dsecond, cache: 2 * dfirst),
        "concatenates the gradients": (_twice, lambda dfirst, dsecond, cache: torch.cat([dfirst[None], dsecond[None]])),
        "returns both gradients": (_twice, lambda dfirst, dsecond, cache: (dfirst, dsecond)),
        "gives the second user zeros": (
            lambda x: (x, torch.zeros_like(x), None),
            lambda dfirst, dsecond, cache: dfirst + dsecond,
        ),
        "sums over the entries": (_twice, lambda dfirst, dsecond, cache: (dfirst + dsecond).sum()),
        "adds the squares": (_twice, lambda dfirst, dsecond, cache: (dfirst**2 + dsecond**2).sqrt()),
    },
    solutions={
        "clones, by a sum over a stack": (
            lambda x: (x.clone(), x.clone(), {"shape": x.shape}),
            lambda dfirst, dsecond, cache: torch.stack([dfirst, dsecond]).sum(0),
        ),
        "a list, accumulated": (
            lambda x: [x, x + 0, []],
            lambda dfirst, dsecond, cache: torch.zeros_like(dfirst).add_(dfirst).add_(dsecond),
        ),
    },
)


def _sigmoid_by_halves(x):
    """The sigmoid with an exponential that is never larger than 1."""
    small = torch.exp(-x.abs())
    return torch.where(x >= 0, 1 / (1 + small), small / (1 + small)), x


def _halves_backward(dout, x):
    small = torch.exp(-x.abs())
    return dout * small / (1 + small) ** 2


def _clamped(x):
    out = 1 / (1 + torch.exp(-x.clamp(-5, 5)))
    return out, out


def _from_out(dout, out):
    return dout * out * (1 - out)


def _by_exp(x):
    out = 1 / (1 + torch.exp(-x))
    return out, out


sigmoid_gate = Hidden(
    cases=[
        Case("one number", x=normal(1), dout=normal(1)),
        Case("no axis", x=normal(), dout=normal()),
        Case("three axes with gaps", x=normal(2, 3, 4, std=3.0), dout=normal(2, 3, 4)).strided(),
        Case("float32", x=normal(4, 3, std=2.0), dout=normal(4, 3)).float32(),
        Case(
            "float32 from -1e4 to 1e4", x=given([-1e4, -100.0, -12.0, 0.0, 12.0, 100.0, 1e4]), dout=normal(7)
        ).float32(),
        Case("numbers of 1e4", x=normal(6, std=1e4), dout=normal(6)),
        Case("very negative", x=given([-30.0, -31.0, -32.0]), dout=normal(3, std=1e13)),
        Case("all zero", x=given([[0.0, 0.0]]), dout=normal(1, 2)),
        Case("no upstream gradient", x=normal(3), dout=given([0.0, 0.0, 0.0])),
    ],
    mutants={
        "clamps its input": (_clamped, _from_out),
        "divides e^x by 1 + e^x": (lambda x: (x.exp() / (1 + x.exp()), x.exp() / (1 + x.exp())), _from_out),
        "derivative from exponentials": (
            lambda x: (_by_exp(x)[0], x),
            lambda dout, x: dout * torch.exp(-x) / (1 + torch.exp(-x)) ** 2,
        ),
        "uses torch's sigmoid": (lambda x: (torch.sigmoid(x), torch.sigmoid(x)), _from_out),
        "uses torch's sigmoid as a method": (lambda x: (x.sigmoid(),) * 2, _from_out),
        "uses torch.special": (lambda x: (torch.special.expit(x),) * 2, _from_out),
        "uses torch's derivative": (_by_exp, lambda dout, out: torch.ops.aten.sigmoid_backward(dout, out)),
        "slope of the wrong sign": (_by_exp, lambda dout, out: dout * out * (out - 1)),
        "puts dout where out belongs": (_by_exp, lambda dout, out: dout * (1 - dout)),
        "rounds to steps": (lambda x: ((x > 0).to(x.dtype),) * 2, _from_out),
        "a hard sigmoid": (lambda x: ((x / 4 + 0.5).clamp(0, 1),) * 2, _from_out),
        "changes x": (lambda x: (x.neg_().exp_().add_(1).reciprocal_(),) * 2, _from_out),
    },
    solutions={
        "by halves": (_sigmoid_by_halves, _halves_backward),
        "by tanh": (
            lambda x: (
                0.5 * (1 + torch.tanh(x / 2)),
                {"x": x, "slope": 0.25 / torch.cosh(x.clamp(-700, 700) / 2) ** 2},
            ),
            lambda dout, cache: dout * cache["slope"],
        ),
        "out minus its square": (_by_exp, lambda dout, out: (out - out * out) * dout),
    },
)


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


def _matrices(n, d, m, **options):
    return {"X": normal(n, d, **options), "W": normal(d, m), "dout": normal(n, m)}


def _matmul_loop(X, W):
    out = X.new_zeros(X.shape[0], W.shape[1])
    for d in range(X.shape[1]):
        out += X[:, d, None] * W[None, d]
    return out, {"X": X, "W": W}


def _matmul_loop_backward(dout, cache):
    X, W = cache["X"], cache["W"]
    dX, dW = torch.zeros_like(X), torch.zeros_like(W)
    for n in range(X.shape[0]):
        for m in range(W.shape[1]):
            dX[n] += dout[n, m] * W[:, m]
            dW[:, m] += dout[n, m] * X[n]
    return [dX, dW]


def _matmul(X, W):
    return X @ W, (X, W)


matmul = Hidden(
    cases=[
        Case("one row, one feature, one output", **_matrices(1, 1, 1)),
        Case("one feature", **_matrices(5, 1, 3)),
        Case("one output", **_matrices(5, 3, 1)),
        Case("with gaps", **_matrices(4, 6, 5)).strided(),
        Case("float32", **_matrices(7, 5, 3)).float32(),
        Case("numbers of 1e5", **_matrices(3, 4, 5, std=1e5)),
        Case("no upstream gradient", X=normal(2, 3), W=normal(3, 4), dout=given([[0.0] * 4] * 2)),
        Case("N = M", **_matrices(3, 5, 3)),
    ],
    mutants={
        "swaps the gradients": (_matmul, lambda dout, cache: (cache[0].T @ dout, dout @ cache[1].T)),
        "dX from the right, untransposed": (_matmul, lambda dout, cache: (dout @ cache[1], cache[0].T @ dout)),
        "dW transposed": (_matmul, lambda dout, cache: (dout @ cache[1].T, dout.T @ cache[0])),
        "dW from the first row": (
            _matmul,
            lambda dout, cache: (dout @ cache[1].T, cache[0][:1].T @ dout[:1]),
        ),
        "changes the upstream gradient": (
            _matmul,
            lambda dout, cache: (dout.mul_(2) @ cache[1].T / 2, cache[0].T @ dout / 2),
        ),
        "negative dW": (_matmul, lambda dout, cache: (dout @ cache[1].T, -cache[0].T @ dout)),
        "one gradient only": (_matmul, lambda dout, cache: dout @ cache[1].T),
        "sums dout over the outputs": (
            _matmul,
            lambda dout, cache: (
                dout.sum(1, keepdim=True) * cache[1].sum(1)[None],
                cache[0].T @ dout,
            ),
        ),
        "uses autograd": (
            _matmul,
            lambda dout, cache: torch.autograd.functional.vjp(lambda X, W: X @ W, cache, dout)[1],
        ),
    },
    solutions={
        "loops, a list of gradients": (_matmul_loop, _matmul_loop_backward),
        "by einsum": (
            lambda X, W: (torch.einsum("nd,dm->nm", X, W), (W, X)),
            lambda dout, cache: (
                torch.einsum("nm,dm->nd", dout, cache[0]),
                torch.einsum("nd,nm->dm", cache[1], dout),
            ),
        ),
        "by broadcasting": (
            lambda X, W: ((X[:, :, None] * W[None]).sum(1), (X, W)),
            lambda dout, cache: (
                (dout[:, None, :] * cache[1][None]).sum(2),
                (dout.T @ cache[0]).T,
            ),
        ),
    },
)


def _sum_from_the_left(dout, shape):
    while dout.dim() > len(shape):
        dout = dout.sum(-1)
    for axis, size in enumerate(shape):
        if size == 1:
            dout = dout.sum(axis, keepdim=True)
    return dout


def _sum_at_once(dout, shape):
    padded = (1,) * (dout.dim() - len(shape)) + tuple(shape)
    axes = [axis for axis, size in enumerate(padded) if size == 1]
    return (dout.sum(axes, keepdim=True) if axes else dout).reshape(shape)


def _sum_by_differences(dout, shape):
    """Look at which sizes differ, instead of which are 1."""
    while dout.dim() > len(shape):
        dout = dout.sum(0)
    for axis in range(dout.dim()):
        if dout.shape[axis] != shape[axis]:
            dout = torch.stack([part.unsqueeze(axis) for part in dout.unbind(axis)]).sum(0)
    return dout


def _sum_by_index(dout, shape):
    """Count where every entry came from."""
    source = torch.arange(torch.Size(shape).numel(), device=dout.device).reshape(shape).expand(dout.shape)
    out = dout.new_zeros(torch.Size(shape).numel())
    out.index_add_(0, source.reshape(-1), dout.reshape(-1))
    return out.reshape(shape)


def _sum_drops_ones(dout, shape):
    return _sum_at_once(dout, shape).squeeze()


def _sum_in_place(dout, shape):
    result = _sum_at_once(dout, shape)
    dout.zero_()
    return result


def _one_added_axis(dout, shape):
    if dout.dim() > len(shape):
        dout = dout.sum(0)
    for axis, size in enumerate(shape):
        if size == 1:
            dout = dout.sum(axis, keepdim=True)
    return dout.reshape(shape) if dout.numel() == torch.Size(shape).numel() else dout


def _first_stretched_axis(dout, shape):
    while dout.dim() > len(shape):
        dout = dout.sum(0)
    for axis, size in enumerate(shape):
        if size == 1:
            return dout.sum(axis, keepdim=True)
    return dout


sum_to_shape = Hidden(
    cases=[
        Case("(4, 3) to ()", dout=normal(4, 3), shape=()),
        Case("(2, 3, 4, 5) to (4, 1)", dout=normal(2, 3, 4, 5), shape=(4, 1)),
        Case("(2, 3, 4) to (1, 3, 1)", dout=normal(2, 3, 4), shape=(1, 3, 1)),
        Case("(2, 3, 4) to (1,)", dout=normal(2, 3, 4), shape=(1,)),
        Case("(3, 1) to (1, 1)", dout=normal(3, 1), shape=(1, 1)),
        Case("all square", dout=normal(3, 3, 3), shape=(3, 1)),
        Case("(1, 3) to (3,)", dout=normal(1, 3), shape=(3,)),
        Case("() to ()", dout=normal(), shape=()),
        Case("with gaps", dout=normal(2, 4, 3), shape=(4, 1)).strided(),
        Case("float32", dout=normal(5, 4, 3), shape=(4, 1)).float32(),
        Case("numbers of 1e8", dout=normal(6, 3, std=1e8), shape=(1, 3)),
    ],
    mutants={
        "sums the last axes away": _sum_from_the_left,
        "drops axes of length 1": _sum_drops_ones,
        "changes dout": _sum_in_place,
        "sums one added axis at most": _one_added_axis,
        "sums one stretched axis at most": _first_stretched_axis,
        "sums absolute values": lambda dout, shape: _sum_at_once(dout.abs(), shape),
        "multiplies the copies": lambda dout, shape: _sum_at_once(dout.abs().log(), shape).exp(),
        "takes the largest of the copies": lambda dout, shape: dout.flatten().amax().expand(shape).clone(),
        "uses torch's own": lambda dout, shape: dout.sum_to_size(shape),
        "for matrices and rows alone": lambda dout, shape: (
            dout.sum(0) if len(shape) == 1 else _sum_at_once(dout, shape)
        ),
    },
    solutions={
        "all axes at once": _sum_at_once,
        "axis by axis where sizes differ": _sum_by_differences,
        "by index": _sum_by_index,
    },
)


def _broadcast(x, b):
    return x + b, (x, b)


def _sums(dout, cache):
    return tuple(_sum_at_once(dout, value.shape) for value in cache)


def _terms(x, b, out, **options):
    return {"x": normal(*x, **options), "b": normal(*b), "dout": normal(*out)}


broadcast_add = Hidden(
    cases=[
        Case("equal shapes", **_terms((3, 2), (3, 2), (3, 2))),
        Case("one row", **_terms((1, 4), (4,), (1, 4))),
        Case("a number b", **_terms((3, 2), (), (3, 2))),
        Case("a number x", **_terms((), (2, 3), (2, 3))),
        Case("x shorter than b", **_terms((3,), (4, 3), (4, 3))),
        Case("all square", **_terms((3, 3), (3,), (3, 3))),
        Case("with gaps", **_terms((2, 1, 4), (3, 1), (2, 3, 4))).strided(),
        Case("float32", **_terms((6, 4), (4,), (6, 4))).float32(),
        Case("numbers of 1e6", **_terms((5, 1), (1, 2), (5, 2), std=1e6)),
    ],
    mutants={
        "sums over axis 0 for b, always": (_broadcast, lambda dout, cache: (dout, dout.sum(0))),
        "swaps the shapes": (_broadcast, lambda dout, cache: _sums(dout, cache[::-1])),
        "swaps the gradients": (_broadcast, lambda dout, cache: _sums(dout, cache)[::-1]),
        "one stretched axis at most": (
            _broadcast,
            lambda dout, cache: tuple(_first_stretched_axis(dout, value.shape) for value in cache),
        ),
        "changes dout": (_broadcast, lambda dout, cache: (_sums(dout, cache)[0], _sum_in_place(dout, cache[1].shape))),
        "negative db": (_broadcast, lambda dout, cache: (_sums(dout, cache)[0], -_sums(dout, cache)[1])),
        "drops axes of length 1": (
            _broadcast,
            lambda dout, cache: tuple(_sum_drops_ones(dout, value.shape) for value in cache),
        ),
        "uses torch's own": (
            _broadcast,
            lambda dout, cache: tuple(dout.sum_to_size(value.shape) for value in cache),
        ),
    },
    solutions={
        "all axes at once": (_broadcast, _sums),
        "shapes in a dict, by index": (
            lambda x, b: (b + x, {"x": tuple(x.shape), "b": tuple(b.shape)}),
            lambda dout, cache: [_sum_by_index(dout, cache["x"]), _sum_by_index(dout, cache["b"])],
        ),
    },
)


def _layer(X, W, b):
    out = 0.5 * (1 + torch.tanh((X @ W + b) / 2))
    return out, (X, W, out)


def _layer_backward(dout, cache):
    X, W, out = cache
    dscores = dout * (out - out**2)
    return dscores @ W.T, X.T @ dscores, dscores.sum(0)


def _layer_neuron_by_neuron(X, W, b):
    columns = []
    for m in range(W.shape[1]):
        columns.append(1 / (1 + torch.exp(-(X * W[:, m]).sum(1) - b[m])))
    return torch.stack(columns, dim=1), {"X": X, "W": W, "columns": columns}


def _neuron_by_neuron_backward(dout, cache):
    X, W = cache["X"], cache["W"]
    dX, dW, db = torch.zeros_like(X), torch.zeros_like(W), W.new_zeros(W.shape[1])
    for m, out in enumerate(cache["columns"]):
        d = dout[:, m] * out * (1 - out)
        dX += d[:, None] * W[:, m]
        dW[:, m] = (d[:, None] * X).sum(0)
        db[m] = d.sum()
    return [dX, dW, db]


def _with_ones(X, W, b):
    """The bias trick: a column of ones beside X, a row b below W."""
    wide, tall = torch.cat([X, torch.ones_like(X[:, :1])], 1), torch.cat([W, b[None]])
    out = 1 / (1 + torch.exp(-(wide @ tall)))
    return out, (wide, tall, out)


def _with_ones_backward(dout, cache):
    wide, tall, out = cache
    dscores = dout * out * (1 - out)
    both = wide.T @ dscores
    return (dscores @ tall.T)[:, :-1], both[:-1], both[-1]


def _layer_with(slope):
    """A layer's backward with another slope of the sigmoid, ``slope(out)``."""

    def backward(dout, cache):
        X, W, out = cache
        dscores = dout * slope(out)
        return dscores @ W.T, X.T @ dscores, dscores.sum(0)

    return backward


def _parts(n, d, m, **options):
    return {"X": normal(n, d, **options), "W": normal(d, m), "b": normal(m), "dout": normal(n, m)}


sigmoid_layer = Hidden(
    cases=[
        Case("one row, one feature, one output", **_parts(1, 1, 1)),
        Case("one row", **_parts(1, 4, 3)),
        Case("one output", **_parts(5, 4, 1)),
        Case("with gaps", **_parts(4, 2, 5)).strided(),
        Case("float32", **_parts(6, 3, 4)).float32(),
        Case("scores of 1e4", **_parts(4, 3, 5, std=1e4)),
        Case("no upstream gradient", X=normal(2, 3), W=normal(3, 4), b=normal(4), dout=given([[0.0] * 4] * 2)),
    ],
    mutants={
        "slope out": (_layer, _layer_with(lambda out: out)),
        "slope of tanh": (_layer, _layer_with(lambda out: 1 - out**2)),
        "slope 1/4": (_layer, _layer_with(lambda out: torch.full_like(out, 0.25))),
        "bias subtracted": (lambda X, W, b: _layer(X, W, -b), _layer_backward),
        "bias before the product": (
            lambda X, W, b: _layer(X + b.mean(), W, 0 * b),
            _layer_backward,
        ),
        "swaps dW and db": (_layer, lambda dout, cache: [_layer_backward(dout, cache)[i] for i in (0, 2, 1)]),
        "gates in forward order": (
            _layer,
            lambda dout, cache: (
                (dout @ cache[1].T) * cache[0] * (1 - cache[0]),
                cache[0].T @ dout,
                dout.sum(0),
            ),
        ),
        "uses torch's sigmoid": (
            lambda X, W, b: (torch.sigmoid(X @ W + b), (X, W, torch.sigmoid(X @ W + b))),
            _layer_backward,
        ),
        "overflows": (
            lambda X, W, b: ((X @ W + b).exp() / (1 + (X @ W + b).exp()), (X, W, _layer(X, W, b)[0])),
            _layer_backward,
        ),
        "changes the upstream gradient": (
            _layer,
            lambda dout, cache: _layer_backward(dout.mul_(2), cache),
        ),
    },
    solutions={
        "by tanh": (_layer, _layer_backward),
        "neuron by neuron": (_layer_neuron_by_neuron, _neuron_by_neuron_backward),
        "the bias trick": (_with_ones, _with_ones_backward),
    },
)
