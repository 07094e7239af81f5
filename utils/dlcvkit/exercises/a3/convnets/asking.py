"""How a net is asked for scores, loss and gradients, and what is told if it stops half way."""

from __future__ import annotations

from dlcvkit.checking import Finding, Interrupted, Kind
from dlcvkit.checking.values import kind_of


def ask_for_gradients(net, X, y, names):
    """Return ``net.loss(X, y)`` with what is wrong with it.

    Args:
        net: The net.
        X: Images.
        y: Labels.
        names: Names that the gradients should have.

    Returns:
        Loss (None if there is none), gradients (an empty dict if there are none), and the problem or None.
    """
    try:
        result = net.loss(X, y)
    except Exception as error:
        return None, {}, error
    if not isinstance(result, tuple | list) or len(result) != 2:
        text = f"loss(X, y) returned {_kind(result)}; expected a tuple of 2: loss and gradients"
        return None, {}, Finding(Kind.STRUCTURE, text)
    loss, gradients = result
    if not isinstance(gradients, dict):
        text = f"the gradients are {_kind(gradients)}; expected a dict"
        return loss, {}, Finding(Kind.STRUCTURE, text)
    if set(gradients) != set(names):
        text = f"the gradients have the names {_listed(gradients)}; expected {_listed(names)}"
        return loss, gradients, Finding(Kind.STRUCTURE, text)
    return loss, gradients, None


def hand_over(quantities, problem, needs):
    """Return the quantities in order, or raise with those that can be told.

    Args:
        quantities: Name to value.
        problem: What was wrong, or None.
        needs: Name to the reason for losing it: True if it cannot be told.

    Raises:
        Interrupted: If there is a problem.
    """
    values = tuple(quantities.values())
    lost = [name for name in quantities if needs.get(name)]
    if problem is not None and lost:
        raise Interrupted(problem, values, lost)
    return values


def _listed(names):
    return ", ".join(map(str, names)) or "none"


def _kind(value):
    return f"a {kind_of(value)}" if value is not None else "None"
