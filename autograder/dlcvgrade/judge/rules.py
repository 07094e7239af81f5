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
import dis
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property

from dlcvgrade.judge.python_text import python_cells
from dlcvkit.checking import Exercise
from dlcvkit.checking.loops import Loop, find_loop
from dlcvkit.checking.watching import AUTOGRAD, TORCH_LAYERS

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
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_Bindings = dict[str, list[ast.stmt]]
# Ready-made in another library, or where the watch cannot look: it sees the thread that it was set up in and no other.
_ELSEWHERE = frozenset(
    "sklearn scipy torchvision skimage cv2 jax tensorflow numba threading _thread concurrent multiprocessing".split()
)
_HIDDEN_WAYS = frozenset({"__import__", "eval", "exec", "importlib.import_module", "importlib.__import__"})
_BUILTINS = ("builtins.", "__builtins__.")
_LAYER_MODULES = frozenset({"torch.nn", "torch.nn.functional"})


@dataclass
class Text:
    """A submission's code, read but not run.

    Attributes:
        cells: The cells as Python, each of them: what is run is what was read.
        functions: Name to the function that the last definition of it makes, in one namespace, without defaults.
        names: Names of the classes that it defines.
        trees: The syntax trees of the cells that could be read.
        imported: Name to the module, or the thing in one, that it is imported from.
        tampering: What only somebody needs who wants to get around the checks, as (the function that it stands in or
            None, what it is); empty for honest work.
    """

    cells: list[str] = field(default_factory=list)
    functions: dict[str, types.FunctionType] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    trees: list[ast.Module] = field(default_factory=list)
    imported: dict[str, str] = field(default_factory=dict)
    tampering: list[tuple[str | None, str]] = field(default_factory=list)

    @cached_property
    def definitions(self) -> _Bindings:
        """Name to the statements that may have bound it, when the last cell has run."""
        return _definitions(self.trees)

    @cached_property
    def looked_up(self) -> Callable[[ast.stmt], frozenset[str]]:
        """Give the names that a statement looks up in the notebook's namespace or among the builtins."""
        return cache(_looked_up)


def read_text(cells: Sequence[str], released: frozenset[str] = frozenset()) -> Text:
    """Read a submission's code cells.

    Args:
        cells: Their texts, in order; a cell that is no Python is left out, here and in the worker.
        released: Texts that stand in the release as they are, in which nothing is looked for.
    """
    text = Text()
    readable: list[tuple[str, ast.Module]] = []
    for cell in python_cells(cells):
        text.cells.append(cell.text)
        if cell.read is None:
            continue
        tree, code = cell.read
        readable.append((cell.source, tree))
        text.names |= {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
        defined = {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType) and constant.co_name in defined and not constant.co_freevars:
                text.functions[constant.co_name] = types.FunctionType(constant, text.functions)
    text.trees = [tree for _, tree in readable]
    text.imported = dict(_imports(text.trees))
    own = [tree for source, tree in readable if source.strip() not in released]
    for statement in (statement for tree in own for statement in tree.body):
        home = statement.name if isinstance(statement, _Definition) else None
        text.tampering += [(home, sign) for sign in _tampering(statement, text.imported)]
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

    What stands outside of functions and classes counts for every exercise, what stands in one for those that can come
    to it.
    """
    if not (exercise.forbidden or exercise.is_loop_free):
        return None
    reached = reached_from(exercise.functions, text)
    return next((sign for home, sign in text.tampering if home is None or home in reached), None)


def reached_from(functions: Sequence[str], text: Text) -> set[str]:
    """Return the names that functions of a submission come to, directly or through others, their own included."""
    return {name for name, _ in _reachable(functions, text)}


def _definitions(trees: Sequence[ast.Module]) -> _Bindings:
    found: _Bindings = {}
    for statement in (statement for tree in trees for statement in tree.body):
        if isinstance(statement, _Definition):
            found[statement.name] = [statement]
            continue
        nodes = list(ast.walk(statement))
        names = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        names |= {node.name for node in nodes if isinstance(node, _Definition)}
        is_plain = isinstance(statement, ast.Assign | ast.AnnAssign)
        for name in names:
            found[name] = [*([] if is_plain else found.get(name, [])), statement]
    return found


def find_forbidden(exercise: Exercise, text: Text) -> str | None:
    """Return the name of what the exercise's functions use against its rules, or None.

    Only what no reading can take for something else counts: forbidden operations by their full names, other libraries
    and threads, and names that are put together at run time. The rest is seen when it is called.
    """
    if not exercise.forbidden:
        return None
    plain = exercise.forbidden - AUTOGRAD - TORCH_LAYERS
    for _, definition in _reachable(exercise.functions, text):
        own = dict(_imports([definition]))
        imported = {**text.imported, **own}
        looked_up = text.looked_up(definition)
        for node in ast.walk(definition):
            if not isinstance(node, ast.Name | ast.Attribute):
                continue
            head, _, rest = _dotted(node).partition(".")
            if head not in own and head not in looked_up:
                continue  # an argument or a variable of the function that happens to have this name
            whole = ".".join(part for part in (imported.get(head, head), rest) if part)
            for prefix in _BUILTINS:
                whole = whole.removeprefix(prefix)
            module, _, name = whole.rpartition(".")
            root = whole.partition(".")[0]
            if whole in _HIDDEN_WAYS or (root in _ELSEWHERE and (module or head in imported)):
                return whole
            if root == "numpy" and name in plain:
                return whole
            if root != "torch":
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


def _imports(trees: Sequence[ast.AST]) -> Iterator[tuple[str, str]]:
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    root = alias.name.partition(".")[0]
                    yield (alias.asname, alias.name) if alias.asname else (root, root)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield from ((a.asname or a.name, f"{node.module}.{a.name}") for a in node.names)


def _looked_up(statement: ast.stmt) -> frozenset[str]:
    waiting: list[types.CodeType] = [compile(ast.Module([statement], []), "<submission>", "exec", dont_inherit=True)]
    names = set()
    while waiting:
        code = waiting.pop()
        waiting += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
        loads = (i for i in dis.get_instructions(code) if i.opname.startswith("LOAD_"))
        names |= {str(i.argval) for i in loads if "GLOBAL" in i.opname or i.opname == "LOAD_NAME"}
    return frozenset(names)


def _reachable(names: Sequence[str], text: Text) -> Iterator[tuple[str, ast.stmt]]:
    waiting, seen = list(names), set()
    while waiting:
        name = waiting.pop(0)
        if name in seen:
            continue
        seen.add(name)
        for statement in text.definitions.get(name, ()):
            yield name, statement
            waiting += sorted(text.looked_up(statement))
