"""What the trusted side can tell from a submission's text alone, without believing the worker.

Nothing is executed: the text is compiled, and the code objects are read. Loops are found here and nowhere else.
Forbidden operations are looked for twice, by name here and by what torch is asked to do in the worker. A submission
that takes hold of the machinery that watches it earns nothing in exercises that have rules to watch.

Not protected against: a name put together at run time, from code that besides takes over the watching in its own
process in a way that this list does not know. It can break a rule (call a ready-made operation) unnoticed. It cannot
make a wrong answer right: answers are compared outside.
"""

from __future__ import annotations

import ast
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from IPython.core.inputtransformer2 import TransformerManager

from dlcvkit.checking import Exercise
from dlcvkit.checking.loops import Loop, find_loop
from dlcvkit.checking.watching import AUTOGRAD, TORCH_LAYERS

MAX_SOURCE = 2_000_000
_TAMPERING_MODULES = (
    "ctypes", "_ctypes", "dlcvgrade", "dlcvkit_calls", "dlcvkit.exercises", "dlcvkit.checking.observe",
    "dlcvkit.checking.watching", "dlcvkit.checking.values", "torch.overrides", "torch.utils._python_dispatch",
)  # fmt: skip
_TAMPERING_NAMES = frozenset(
    "_getframe currentframe settrace setprofile get_objects get_referrers f_globals f_locals f_back f_builtins "
    "__subclasses__ __torch_function__ __torch_dispatch__ _pop_mode _disable_current_modes DisableTorchFunction "
    "DisableTorchFunctionSubclass _DisableTorchDispatch BaseTorchFunctionMode _C".split()
)
_WATCHED_ROOTS = frozenset({"torch", "dlcvkit", "builtins"})
_CHANGERS = frozenset({"setattr", "delattr", "vars"})
_OPEN_SETTINGS = "torch.backends."
_AUTOGRAD_NAMES = frozenset({"backward", "requires_grad_", "vjp", "jvp", "jacobian", "autograd", "enable_grad"})
_LAYER_MODULES = frozenset({"torch.nn", "torch.nn.functional"})


@dataclass
class Text:
    """A submission's code, read but not run.

    Attributes:
        functions: Name to the function that the last definition of it makes, in one namespace, without defaults.
        names: Names of the classes that it defines.
        trees: The syntax trees of the cells that could be read.
        tampering: What only somebody needs who wants to get around the checks, as (the function that it stands in or
            None, what it is); empty for honest work.
    """

    functions: dict[str, types.FunctionType] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    trees: list[ast.Module] = field(default_factory=list)
    tampering: list[tuple[str | None, str]] = field(default_factory=list)


def read_text(cells: Sequence[str], released: frozenset[str] = frozenset()) -> Text:
    """Read a submission's code cells.

    Args:
        cells: Their texts, in order; a cell that is no Python is left out.
        released: Texts that stand in the release as they are, in which nothing is looked for.
    """
    text = Text()
    readable: list[tuple[str, ast.Module]] = []
    for source in cells:
        try:
            tree = ast.parse(TransformerManager().transform_cell(source[:MAX_SOURCE]))  # type: ignore[no-untyped-call]
            code = compile(tree, "<submission>", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        readable.append((source, tree))
        text.names |= {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
        defined = {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType) and constant.co_name in defined and not constant.co_freevars:
                text.functions[constant.co_name] = types.FunctionType(constant, text.functions)
    text.trees = [tree for _, tree in readable]
    imported = dict(_imports(text.trees))
    own = [tree for source, tree in readable if source.strip() not in released]
    for statement in (statement for tree in own for statement in tree.body):
        home = statement.name if isinstance(statement, ast.FunctionDef) else None
        text.tampering += [(home, sign) for sign in _tampering(statement, imported)]
    return text


def _dotted(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join(reversed([*parts, node.id])) if isinstance(node, ast.Name) else ""


def _is_tampering_module(name: str) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in _TAMPERING_MODULES)


def _tampering(tree: ast.stmt, imported: Mapping[str, str]) -> Iterator[str]:
    def whole(node: ast.expr) -> str:
        head, dot, rest = _dotted(node).partition(".")
        return f"{imported.get(head, head)}{dot}{rest}"

    def is_watched(name: str) -> bool:
        return name.partition(".")[0] in _WATCHED_ROOTS and not name.startswith(_OPEN_SETTINGS)

    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (f"imports {a.name}" for a in node.names if _is_tampering_module(a.name))
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            yield from (f"imports {name}" for name in names if _is_tampering_module(name))
        elif isinstance(node, ast.Attribute):
            if node.attr in _TAMPERING_NAMES or _dotted(node) == "sys.modules":
                yield f"uses {node.attr}"
            elif isinstance(node.ctx, ast.Store | ast.Del) and is_watched(whole(node)):
                yield f"changes {whole(node)}"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _CHANGERS:
            yield from (f"changes {whole(first)}" for first in node.args[:1] if is_watched(whole(first)))


def find_loop_in(exercise: Exercise, text: Text) -> Loop | None:
    """Return the first loop in the functions of an exercise that wants none, and in what they call; None if none."""
    if not exercise.is_loop_free:
        return None
    found = (find_loop(text.functions[name]) for name in exercise.functions if name in text.functions)
    return next((loop for loop in found if loop is not None), None)


def find_tampering(exercise: Exercise, text: Text) -> str | None:
    """Return what a submission does to get around the rules of an exercise, or None.

    What stands outside of functions counts for every exercise, what stands in one for those that can come to it.
    """
    if not (exercise.forbidden or exercise.is_loop_free):
        return None
    reached = {function.name for function in _reachable(exercise.functions, _definitions(text))}
    return next((sign for home, sign in text.tampering if home is None or home in reached), None)


def _definitions(text: Text) -> dict[str, ast.FunctionDef]:
    return {node.name: node for tree in text.trees for node in tree.body if isinstance(node, ast.FunctionDef)}


def find_forbidden(exercise: Exercise, text: Text) -> str | None:
    """Return the name of a forbidden operation that the exercise's functions call as ``torch`` or ``x.name``, or None.

    Only what no reading can take for something else counts; the rest is seen when it is called.
    """
    if not exercise.forbidden:
        return None
    imported = dict(_imports(text.trees))
    plain = exercise.forbidden - AUTOGRAD - TORCH_LAYERS
    for function in _reachable(exercise.functions, _definitions(text)):
        for node in ast.walk(function):
            if not isinstance(node, ast.Call):
                continue
            dotted = _dotted(node.func)
            head, _, rest = dotted.partition(".")
            whole = ".".join(part for part in (imported.get(head, head), rest) if part)
            module, _, name = whole.rpartition(".")
            if module.partition(".")[0] != "torch":
                continue
            is_layer = bool(exercise.forbidden & TORCH_LAYERS) and module in _LAYER_MODULES and name in _CERTAIN_LAYERS
            is_autograd = bool(exercise.forbidden & AUTOGRAD) and (
                module == "torch.autograd" or name in _AUTOGRAD_NAMES
            )
            if name in plain or is_layer or is_autograd:
                return whole
    return None


_CERTAIN_LAYERS = frozenset(
    "conv1d conv2d conv3d cross_entropy nll_loss multi_margin_loss softmax log_softmax relu batch_norm layer_norm "
    "group_norm dropout max_pool2d avg_pool2d embedding mse_loss l1_loss scaled_dot_product_attention".split()
)


def _imports(trees: Sequence[ast.Module]) -> Iterator[tuple[str, str]]:
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from ((a.asname, a.name) for a in node.names if a.asname)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield from ((a.asname or a.name, f"{node.module}.{a.name}") for a in node.names)


def _reachable(names: Sequence[str], definitions: Mapping[str, ast.FunctionDef]) -> Iterator[ast.FunctionDef]:
    waiting, seen = list(names), set()
    while waiting:
        name = waiting.pop(0)
        if name in seen or name not in definitions:
            continue
        seen.add(name)
        yield definitions[name]
        waiting += [node.id for node in ast.walk(definitions[name]) if isinstance(node, ast.Name)]
