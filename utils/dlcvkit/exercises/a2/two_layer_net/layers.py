"""The affine layer and ReLU, forward and backward."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, Case, ForwardBackward, Mistake, given, normal


def _affine(x, w, b):
    return functional.linear(x.flatten(1), w.T, b)


def _changed(layer, **changes):
    """A layer whose quantities are right but for those that are changed, ``dw=lambda dw, inputs: ...``."""

    def variant(dout, **inputs):
        variables = {name: value.detach().clone().requires_grad_() for name, value in inputs.items()}
        with torch.enable_grad():
            out = layer(**variables)
            gradients = torch.autograd.grad(out, list(variables.values()), dout)
        right = {"out": out.detach(), **{f"d{name}": g for name, g in zip(inputs, gradients, strict=True)}}
        given = {**inputs, "dout": dout}
        return tuple(changes[name](value, given) if name in changes else value for name, value in right.items())

    return variant


def _ignoring_upstream(layer):
    def variant(dout, **inputs):
        return _changed(layer)(dout=torch.ones_like(dout), **inputs)

    return variant


affine = ForwardBackward(
    functions=("affine_forward", "affine_backward"),
    reference=_affine,
    cases=[
        Case("three images of 2×4×3", x=normal(3, 2, 4, 3), w=normal(24, 5), b=normal(5), dout=normal(3, 5)),
        Case("rows", x=normal(4, 6), w=normal(6, 3), b=normal(3), dout=normal(4, 3)),
        Case("as many outputs as features", x=normal(2, 2, 2), w=normal(4, 4), b=normal(4), dout=normal(2, 4)),
    ],
    points={"out": 2, "dx": 2, "dw": 2, "db": 1},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        Mistake(
            "leaves the bias out",
            lambda x, w, b: functional.linear(x.flatten(1), w.T),
            hint="every row of the output gets b added",
        ),
        Mistake(
            "adds the bias to the first image only",
            lambda x, w, b: torch.cat([_affine(x[:1], w, b), _affine(x[1:], w, torch.zeros_like(b))]),
            hint="every row of the output gets b added",
        ),
        Mistake(
            "multiplies with the transpose of w",
            lambda x, w, b: functional.linear(x.flatten(1), w, b),
            hint="w has shape (D, M): which side of it meets the D features of an image?",
        ),
        Mistake(
            "mixes the images when it flattens them",
            lambda x, w, b: functional.linear(x.reshape(w.shape[0], -1).T, w.T, b),
            hint="axis 0 counts the images: keep it first and flatten what comes after it",
        ),
        Mistake(
            "flattens the axes of an image in reverse order",
            lambda x, w, b: _affine(x.permute(0, *range(x.dim() - 1, 0, -1)), w, b),
            hint="the features of an image stand in the order in which they lie in x; no axes change places",
        ),
        Mistake(
            "ignores the upstream gradient",
            _ignoring_upstream(_affine),
            hint="every gradient holds dout: what comes after this layer says how much each output matters",
        ),
        Mistake(
            "leaves dx flat",
            _changed(_affine, dx=lambda dx, given: dx.flatten(1)),
            hint="a gradient has the shape of what it belongs to: look at the shape of x",
        ),
        Mistake(
            "multiplies dout with w where its transpose is wanted",
            _changed(_affine, dx=lambda dx, given: (given["dout"] @ given["w"]).reshape(dx.shape)),
            hint="write down the shapes of dout, w and dx; only one product fits when M is not D",
        ),
        Mistake(
            "returns dw transposed",
            _changed(_affine, dw=lambda dw, given: dw.T),
            hint="dw has the shape of w, (D, M)",
        ),
        Mistake(
            "averages dw over the images",
            _changed(_affine, dw=lambda dw, given: dw / len(given["x"])),
            hint="all images use the same w and their contributions add up; the loss has averaged already",
        ),
        Mistake(
            "averages db over the images",
            _changed(_affine, db=lambda db, given: db / len(given["x"])),
            hint="all images use the same b and their contributions add up; the loss has averaged already",
        ),
        Mistake(
            "keeps one row per image in db",
            _changed(_affine, db=lambda db, given: given["dout"]),
            hint="b has shape (M,) and was added to every row: what does each row contribute to its gradient?",
        ),
        Mistake(
            "adds db up over the outputs instead of the images",
            _changed(_affine, db=lambda db, given: given["dout"].sum(1)),
            hint="db has one entry per output: look at the axis that disappears",
        ),
        Mistake(
            "takes db to be all ones",
            _changed(_affine, db=lambda db, given: torch.ones_like(db)),
            hint="b enters the output with factor 1, and the chain rule multiplies that by dout",
        ),
    ],
)


def _relu(x):
    return functional.relu(x)


relu = ForwardBackward(
    functions=("relu_forward", "relu_backward"),
    reference=_relu,
    cases=[
        Case("3×4", x=normal(3, 4), dout=normal(3, 4)),
        Case("zeros in x", x=given([[0.0, -1.5, 2.0], [0.25, 0.0, -0.5]]), dout=normal(2, 3)),
        Case("four axes", x=normal(2, 3, 1, 5), dout=normal(2, 3, 1, 5)),
    ],
    points={"out": 1, "dx": 2},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        Mistake(
            "takes the absolute value",
            lambda x: x.abs(),
            hint="negative numbers become 0",
        ),
        Mistake(
            "keeps the negative numbers and drops the positive ones",
            lambda x: x.clamp(max=0),
            hint="positive numbers pass, negative ones become 0",
        ),
        Mistake(
            "returns 1 for positive numbers",
            _changed(_relu, out=lambda out, given: (given["x"] > 0).to(out.dtype)),
            hint="positive numbers pass as they are; 0 and 1 are the slope",
        ),
        Mistake(
            "lets a part of the negative numbers through",
            lambda x: functional.leaky_relu(x, 0.01),
            hint="that is leaky ReLU, in the next notebook; here negative numbers become 0",
        ),
        Mistake(
            "cuts off above 1",
            lambda x: x.clamp(0, 1),
            hint="large numbers pass as they are",
        ),
        Mistake(
            "passes the upstream gradient on unchanged",
            _changed(_relu, dx=lambda dx, given: given["dout"]),
            hint="an input that was cut to 0 has no influence on the output",
        ),
        Mistake(
            "lets the gradient through where x is exactly 0",
            _changed(_relu, dx=lambda dx, given: torch.where(given["x"] == 0, given["dout"], dx)),
            hint="at the kink the slope is taken as 0: look at > and >=",
        ),
        Mistake(
            "lets half the gradient through where x is exactly 0",
            _changed(_relu, dx=lambda dx, given: torch.where(given["x"] == 0, given["dout"] / 2, dx)),
            hint="at the kink the slope is taken as 0",
        ),
        Mistake(
            "cuts by the sign of dout instead of the sign of x",
            _changed(_relu, dx=lambda dx, given: given["dout"].clamp(min=0)),
            hint="whether the gate is open was decided in the forward pass, by x",
        ),
        Mistake(
            "drops negative upstream gradients as well",
            _changed(_relu, dx=lambda dx, given: dx.clamp(min=0)),
            hint="gradients have both signs; only x decides what passes",
        ),
        Mistake(
            "multiplies by the output instead of the slope",
            _changed(_relu, dx=lambda dx, given: dx * given["x"]),
            hint="the slope is 0 or 1, however large x is",
        ),
        Mistake(
            "returns the slope without the upstream gradient",
            _changed(_relu, dx=lambda dx, given: (given["x"] > 0).to(dx.dtype)),
            hint="the chain rule multiplies the layer's own slope by dout",
        ),
        Mistake(
            "turns the gate round in the backward pass",
            _changed(_relu, dx=lambda dx, given: given["dout"] - dx),
            hint="the gradient passes where the input passed",
        ),
    ],
)
