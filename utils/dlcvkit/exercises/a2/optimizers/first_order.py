"""Rules that use the gradient as it is: plain steps, momentum, Nesterov's."""

from __future__ import annotations

import torch

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, TORCH_OPTIM, Case, Mistake, Stepper, normal

FORBIDDEN = TORCH_LAYERS | AUTOGRAD | TORCH_OPTIM
FALLING = [0.5 / (1 + step) for step in range(20)]


def changes_state(rule):
    """Make the mistake of a rule that is right but writes into the state it was given."""

    def variant(w, dw, state, **options):
        end, new = rule(w, dw, state, **options)
        state.update(new)
        return end, state

    return Mistake(
        "changes the state that it is given",
        variant,
        hint="put what the rule remembers into a new dict, and make new tensors for it: x = x + 1, not x += 1",
    )


sgd = Stepper(
    functions=("sgd",),
    reference=lambda parameters, lr: torch.optim.SGD(parameters, lr=lr),
    cases=[
        Case("constant rate", w=normal(3, 2), dw=normal(20, 3, 2), lr=0.3),
        Case("falling rate", w=normal(5), dw=normal(20, 5), lr=FALLING),
    ],
    points={"w": 1, "arguments": 1},
    forbidden=FORBIDDEN,
    mistakes=[
        Mistake(
            "climbs",
            lambda w, dw, state, lr: (w + lr * dw, state),
            hint="the gradient points to where the loss grows",
        ),
        Mistake(
            "leaves the learning rate out",
            lambda w, dw, state, lr: (w - dw, state),
            hint="the length of a step is set by lr",
        ),
        Mistake(
            "divides by the learning rate",
            lambda w, dw, state, lr: (w - dw / lr, state),
            hint="a larger learning rate makes larger steps",
        ),
        Mistake(
            "steps by the sign of the gradient",
            lambda w, dw, state, lr: (w - lr * dw.sign(), state),
            hint="a steep slope makes a long step: the size of the gradient counts too",
        ),
        Mistake(
            "scales the gradient to length 1",
            lambda w, dw, state, lr: (w - lr * dw / dw.norm(), state),
            hint="a steep slope makes a long step: the gradient is used as it is",
        ),
        Mistake(
            "returns the step instead of the new weights",
            lambda w, dw, state, lr: (-lr * dw, state),
            hint="the rule returns where the step leads to",
        ),
        Mistake(
            "lets the weights shrink by lr",
            lambda w, dw, state, lr: ((1 - lr) * w - lr * dw, state),
            hint="lr multiplies the gradient alone",
        ),
    ],
)


def _momentum(w, dw, state, lr, momentum, *, rate_inside=False, dampening=0.0, late=False, swapped=False, scale=1.0):
    """Step with momentum; each keyword switches a mistake on."""
    before = state.get("velocity", torch.zeros_like(w))
    keep, add = (1.0, momentum) if swapped else (momentum, scale * (1 - dampening))
    velocity = keep * before + add * dw * (lr if rate_inside else 1.0)
    step = before if late else velocity
    return w - (1.0 if rate_inside else lr) * step, {"velocity": velocity}


def _never_remembers(w, dw, state, lr, momentum):
    return w - lr * (momentum * state.get("velocity", 0.0) + dw), state


def _fades_all(w, dw, state, lr, momentum):
    velocity = momentum * (state.get("velocity", 0.0) + dw)
    return w - lr * velocity, {"velocity": velocity}


def _signs_clash(w, dw, state, lr, momentum):
    velocity = momentum * state.get("velocity", 0.0) - dw
    return w - lr * velocity, {"velocity": velocity}


def _nesterov(w, dw, state, lr, momentum, *, ahead=None, rate_inside=False, dampening=0.0):
    """Step as Nesterov does; each keyword switches a mistake on, ``ahead(dw, velocity, momentum)`` is the step."""
    rate = lr if rate_inside else 1.0
    velocity = momentum * state.get("velocity", 0.0) + (1 - dampening) * rate * dw
    step = rate * dw + momentum * velocity if ahead is None else ahead(dw, velocity, momentum)
    return w - (1.0 if rate_inside else lr) * step, {"velocity": velocity}


def _moment(**mistakes):
    return lambda w, dw, state, lr, momentum: _momentum(w, dw, state, lr, momentum, **mistakes)


def _look(ahead=None, **mistakes):
    return lambda w, dw, state, lr, momentum: _nesterov(w, dw, state, lr, momentum, ahead=ahead, **mistakes)


sgd_momentum = Stepper(
    functions=("sgd_momentum",),
    reference=lambda parameters, lr, momentum: torch.optim.SGD(parameters, lr=lr, momentum=momentum),
    cases=[
        Case("constant rate", w=normal(3, 2), dw=normal(20, 3, 2), lr=0.1, momentum=0.9),
        Case("falling rate", w=normal(5), dw=normal(20, 5), lr=FALLING, momentum=0.6),
    ],
    points={"w": 3, "arguments": 1},
    forbidden=FORBIDDEN,
    mistakes=[
        Mistake(
            "takes no notice of earlier gradients",
            _never_remembers,
            hint="the velocity has to be in the state that is returned, and be read from the state that comes in",
        ),
        Mistake(
            "has the learning rate inside the velocity",
            _moment(rate_inside=True),
            hint="the velocity is a sum of gradients; lr multiplies the whole of it, at its present value",
        ),
        Mistake(
            "weights the new gradient by 1 - momentum",
            lambda w, dw, state, lr, momentum: _momentum(w, dw, state, lr, momentum, dampening=momentum),
            hint="without dampening, the new gradient enters the velocity whole",
        ),
        Mistake(
            "steps by the velocity of the step before",
            _moment(late=True),
            hint="the new gradient enters the velocity before the step is taken",
        ),
        Mistake(
            "puts the momentum on the gradient instead of the velocity",
            _moment(swapped=True),
            hint="the old velocity fades; the new gradient enters it whole",
        ),
        Mistake(
            "lets the new gradient fade as well",
            _fades_all,
            hint="only the old velocity is multiplied by the momentum",
        ),
        Mistake(
            "climbs",
            _signs_clash,
            hint="look at the signs in the velocity and in the step: together they have to lead downhill",
        ),
        Mistake(
            "looks ahead as Nesterov does",
            _look(),
            hint="here the step is the velocity itself; the look ahead comes in the next exercise",
        ),
        changes_state(_momentum),
    ],
)

nesterov = Stepper(
    functions=("nesterov",),
    reference=lambda parameters, lr, momentum: torch.optim.SGD(parameters, lr=lr, momentum=momentum, nesterov=True),
    cases=[
        Case("constant rate", w=normal(3, 2), dw=normal(20, 3, 2), lr=0.1, momentum=0.9),
        Case("falling rate", w=normal(5), dw=normal(20, 5), lr=FALLING, momentum=0.6),
    ],
    points={"w": 3, "arguments": 1},
    forbidden=FORBIDDEN,
    mistakes=[
        Mistake(
            "steps by the velocity, as plain momentum does",
            _moment(),
            hint="the step is the new gradient plus the part of the velocity that the next step will keep",
        ),
        Mistake(
            "adds the whole velocity to the gradient",
            _look(lambda dw, velocity, momentum: dw + velocity),
            hint="the next step keeps only a part of the velocity",
        ),
        Mistake(
            "steps by the velocity that is kept, without the gradient",
            _look(lambda dw, velocity, momentum: momentum * velocity),
            hint="the step has two terms",
        ),
        Mistake(
            "puts the momentum on the gradient in the step",
            _look(lambda dw, velocity, momentum: momentum * dw + velocity),
            hint="look at which of the two terms of the step is multiplied by the momentum",
        ),
        Mistake(
            "looks ahead twice",
            _look(lambda dw, velocity, momentum: dw + momentum * (dw + momentum * velocity)),
            hint="one step ahead is enough: compare with the formula of the step",
        ),
        Mistake(
            "has the learning rate inside the velocity",
            _look(rate_inside=True),
            hint="the velocity is a sum of gradients; lr multiplies the whole step, at its present value",
        ),
        Mistake(
            "weights the new gradient by 1 - momentum",
            lambda w, dw, state, lr, momentum: _nesterov(w, dw, state, lr, momentum, dampening=momentum),
            hint="without dampening, the new gradient enters the velocity whole",
        ),
        Mistake(
            "climbs",
            _look(lambda dw, velocity, momentum: -dw - momentum * velocity),
            hint="both terms of the step lead downhill",
        ),
        changes_state(_nesterov),
    ],
)
