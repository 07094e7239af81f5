"""What every update rule is tried on, and what goes wrong with any of them."""

from __future__ import annotations

from dlcvkit.checking import Case, given, normal

RISING = [0.01 * 1.2**step for step in range(20)]


def _zeros_with(*entries, steps=20):
    """Describe gradients that are zero but for some ``(step, weight, value)``, three weights."""
    rows = [[0.0] * 3 for _ in range(steps)]
    for step, weight, value in entries:
        rows[step][weight] = value
    return given(rows)


def cases(**options):
    """Return the cases that every rule is tried on; the options are its other arguments."""
    return [
        Case("one weight", w=normal(1), dw=normal(20, 1), lr=0.2, **options),
        Case("four axes", w=normal(2, 3, 1, 2), dw=normal(20, 2, 3, 1, 2), lr=0.05, **options),
        Case("one step", w=normal(2, 3), dw=normal(1, 2, 3), lr=0.5, **options),
        Case("zero gradients", w=normal(3), dw=_zeros_with(), lr=0.1, **options),
        Case("zero gradients after a few", w=normal(3), dw=_zeros_with((1, 0, 2.0), (4, 2, -1.0)), lr=0.1, **options),
        Case("gradients of 1e4", w=normal(3, 2), dw=normal(20, 3, 2, std=1e4), lr=1e-3, **options),
        Case("gradients of 1e-4", w=normal(3, 2), dw=normal(20, 3, 2, std=1e-4), lr=1.0, **options),
        Case("rising rate", w=normal(4), dw=normal(20, 4), lr=RISING, **options),
        Case("float32", w=normal(4, 3), dw=normal(20, 4, 3), lr=0.1, **options).float32(),
        Case("non-contiguous", w=normal(4, 3), dw=normal(20, 4, 3), lr=0.1, **options).strided(),
    ]


def in_place(rule):
    """Let a rule write its new weights into the old ones."""

    def changed(w, dw, state, **options):
        end, state = rule(w, dw, state, **options)
        return w.copy_(end), state

    return changed


def keeps_first_rate(rule):
    """Let a rule stay at the learning rate of the first step."""

    def changed(w, dw, state, lr, **options):
        first = state.get("first rate", lr)
        end, inner = rule(w, dw, state.get("inner", {}), lr=first, **options)
        return end, {"inner": inner, "first rate": first}

    return changed


def changes_state(rule):
    """Let a rule write its new state into the old one."""

    def changed(w, dw, state, **options):
        end, new = rule(w, dw, state, **options)
        state.update(new)
        return end, state

    return changed


def by_torch(optimiser, rename=lambda options: options):
    """Let torch's optimiser do the work, its own state carried along."""

    def rule(w, dw, state, lr, **options):
        parameter = w.clone()
        parameter.grad = dw
        stepper = optimiser([parameter], lr=lr, **rename(options))
        if state:
            stepper.state[parameter] = state["kept"]
        stepper.step()
        return parameter, {"kept": stepper.state[parameter]}

    return rule
