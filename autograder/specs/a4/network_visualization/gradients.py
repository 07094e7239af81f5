"""score_gradient, saliency_map and guided_backprop."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional

from dlcvkit.checking import Case, Hidden, given, labels, normal
from dlcvkit.exercises.a4.network_visualization.gradients import convolutional, linear


def _label(*values):
    return given(list(values), dtype=torch.int64)


def _gradient(model, images, labels):
    x = images.detach().clone().requires_grad_()
    rows = torch.arange(len(x), device=x.device)
    return torch.autograd.grad(model(x)[rows, labels].sum(), x)[0]


def _by_backward(model, images, labels):
    x = images.clone().requires_grad_()
    scores = model(x)
    scores.backward(functional.one_hot(labels, scores.shape[1]).to(scores.dtype))
    return x.grad


def _one_by_one(model, images, labels):
    gradients = []
    for image, label in zip(images, labels.tolist(), strict=True):
        x = image[None].detach().requires_grad_()
        gradients.append(torch.autograd.grad(model(x)[0, label], x)[0][0])
    return torch.stack(gradients)


def _by_func(model, images, labels):
    def score(image, label):
        return model(image[None])[0].dot(functional.one_hot(label, model(image[None]).shape[1]).to(image.dtype))

    return torch.stack([torch.func.grad(score)(x, y) for x, y in zip(images, labels, strict=True)]).detach()


def _requiring_input(model, images, labels):
    images.requires_grad_()
    return torch.autograd.grad(model(images).gather(1, labels[:, None]).sum(), images)[0]


def _with_graph(model, images, labels):
    x = images.detach().clone().requires_grad_()
    return torch.autograd.grad(model(x).gather(1, labels[:, None]).sum(), x, create_graph=True)[0] + 0 * x


def _first_label_for_all(model, images, labels):
    return _gradient(model, images, labels[:1].expand(len(labels)))


def _mean_labels(model, images, labels):
    x = images.detach().clone().requires_grad_()
    return torch.autograd.grad(model(x)[:, labels].diagonal().mean(), x)[0]


def _times_image(model, images, labels):
    return _gradient(model, images, labels) * images


def _numerical(model, images, labels, eps=1e-2):
    """Forward differences with a step that is far too large."""
    rows = torch.arange(len(images), device=images.device)
    with torch.no_grad():
        base, flat = model(images)[rows, labels], images.flatten(1)
        slopes = torch.zeros_like(flat)
        for d in range(flat.shape[1]):
            moved = flat.clone()
            moved[:, d] += eps
            slopes[:, d] = (model(moved.reshape(images.shape))[rows, labels] - base).pow(3) / eps
    return slopes.reshape(images.shape)


_GRADIENT_CASES = [
    Case("one image", images=normal(1, 3, 4, 5), labels=_label(2), weights=convolutional(3, 3, 4)),
    Case("one pixel", images=normal(3, 2, 1, 1), labels=_label(1, 0, 1), weights=convolutional(2, 2, 6)),
    Case("one class", images=normal(2, 1, 3, 4), labels=_label(0, 0), weights=linear(1, 12)),
    Case("as many images as classes", images=normal(4, 2, 3, 5), labels=labels(4, 4), weights=convolutional(4, 2, 5)),
    Case("one class for all", images=normal(5, 3, 4, 3), labels=_label(1, 1, 1, 1, 1), weights=linear(3, 36)),
    Case("the last class", images=normal(2, 1, 5, 4), labels=_label(6, 6), weights=convolutional(7, 1, 3)),
    Case("non-contiguous", images=normal(3, 2, 4, 5), labels=_label(2, 0, 1), weights=convolutional(3, 2, 4)).strided(),
    Case("float32", images=normal(3, 3, 5, 4), labels=_label(0, 3, 1), weights=convolutional(4, 3, 6)).float32(),
    Case(
        "scores of 1,000",
        images=normal(2, 2, 3, 4, std=100.0),
        labels=_label(1, 2),
        weights=convolutional(3, 2, 4),
    ),
    Case(
        "gradients of 0",
        images=normal(2, 1, 3, 4),
        labels=_label(1, 0),
        weights={"matrix": given([[0.0] * 12, [0.0] * 12]), "bias": normal(2)},
    ),
    Case("three layers", images=normal(2, 2, 6, 5), labels=_label(1, 0), weights=convolutional(2, 2, 4, 3, 5)),
]


def _ce(model, images, labels):
    x = images.detach().clone().requires_grad_()
    return torch.autograd.grad(-functional.cross_entropy(model(x), labels), x)[0]


score_gradient = Hidden(
    cases=_GRADIENT_CASES,
    mutants={
        "makes the images require gradients": _requiring_input,
        "returns a tensor with its graph": _with_graph,
        "takes the first image's label for all": _first_label_for_all,
        "averages over the images": _mean_labels,
        "gradient times image": _times_image,
        "opposite sign": lambda *a: -_gradient(*a),
        "negative loss": _ce,
        "large differences": _numerical,
        "first image only": lambda model, images, labels: _gradient(model, images[:1], labels[:1]).expand_as(images),
        "labels from 1": lambda model, images, labels: _gradient(model, images, (labels - 1).clamp(min=0)),
        "sign": lambda *a: _gradient(*a).sign(),
        "normalised": lambda *a: functional.normalize(_gradient(*a).flatten(1), dim=1).reshape(a[1].shape),
        "in half precision": lambda *a: _gradient(*a).half(),
    },
    solutions={
        "backward with one-hot rows": _by_backward,
        "one image at a time": _one_by_one,
        "torch.func": _by_func,
        "index by rows": _gradient,
    },
)


def _saliency(model, images, labels):
    return _gradient(model, images, labels).abs().max(dim=1).values


def _saliency_by_loop(model, images, labels):
    gradient = _one_by_one(model, images, labels)
    best = gradient[:, 0].abs()
    for channel in range(1, gradient.shape[1]):
        best = torch.maximum(best, gradient[:, channel].abs())
    return best


def _saliency_by_extremes(model, images, labels):
    gradient = _by_backward(model, images, labels)
    return torch.maximum(gradient.amax(1), -gradient.amin(1))


saliency_map = Hidden(
    cases=_GRADIENT_CASES,
    mutants={
        "smallest channel": lambda *a: _gradient(*a).abs().amin(1),
        "first channel": lambda *a: _gradient(*a)[:, 0].abs(),
        "norm over the channels": lambda *a: _gradient(*a).norm(dim=1),
        "minus the smallest entry": lambda *a: -_gradient(*a).amin(1),
        "maximum over the rows": lambda *a: _gradient(*a).abs().amax(2),
        "maximum over the columns": lambda *a: _gradient(*a).abs().amax(3),
        "of all channels together": lambda *a: _gradient(*a).abs().amax((1, 2, 3)),
        "values and indices": lambda *a: _gradient(*a).abs().max(dim=1),
        "indices": lambda *a: _gradient(*a).abs().argmax(dim=1),
        "squares": lambda *a: _gradient(*a).square().amax(1),
        "times the image": lambda model, images, labels: (_gradient(model, images, labels) * images).abs().amax(1),
        "makes the images require gradients": lambda *a: _requiring_input(*a).abs().amax(1),
        "three channels only": lambda *a: torch.stack([_gradient(*a).abs()[:, c] for c in range(3)]).amax(0),
        "squeezed": lambda *a: _saliency(*a).squeeze(),
        "transposed": lambda *a: _saliency(*a).mT,
    },
    solutions={
        "max with indices": _saliency,
        "channel by channel": _saliency_by_loop,
        "largest or smallest": _saliency_by_extremes,
    },
)


def _guide(model, images, labels, *, kind=nn.ReLU, rule=lambda into: into.clamp(min=0), modules=None, remove=True):
    """Guided by hooks; the keywords switch mistakes on."""
    found = [each for each in (model.modules() if modules is None else modules(model)) if isinstance(each, kind)]
    handles = [each.register_full_backward_hook(lambda m, into, out: (rule(into[0]),)) for each in found]
    try:
        return _gradient(model, images, labels)
    finally:
        for handle in handles if remove else []:
            handle.remove()


def _by_output(model, images, labels):
    """Cut what comes to each ReLU on the way back, before its own gate."""

    def cut(module, inputs, output):
        if output.requires_grad:
            output.register_hook(lambda upstream: upstream.clamp(min=0))

    handles = [each.register_forward_hook(cut) for each in model.modules() if isinstance(each, nn.ReLU)]
    gradient = _by_backward(model, images, labels)
    for handle in handles:
        handle.remove()
    return gradient


class _Rule(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, upstream):
        (x,) = ctx.saved_tensors
        return upstream * (x > 0) * (upstream > 0)


class _Guided(nn.Module):
    def forward(self, x):
        return _Rule.apply(x)


def _replace(module):
    for name, child in module.named_children():
        if isinstance(child, nn.ReLU):
            setattr(module, name, _Guided())
        else:
            _replace(child)
    return module


def _by_copy(model, images, labels):
    return _gradient(_replace(copy.deepcopy(model)), images, labels)


def _by_replacing(model, images, labels):
    return _gradient(_replace(model), images, labels)


def _without_return(model, images, labels):
    def cut(module, into, out):
        into[0].clamp(min=0)

    handles = [each.register_full_backward_hook(cut) for each in model.modules() if isinstance(each, nn.ReLU)]
    gradient = _gradient(model, images, labels)
    for handle in handles:
        handle.remove()
    return gradient


def _removes_one(model, images, labels):
    handles = []
    for each in model.modules():
        if isinstance(each, nn.ReLU):
            handle = each.register_full_backward_hook(lambda m, into, out: (into[0].clamp(min=0),))
            handles = handles or [handle]
    gradient = _gradient(model, images, labels)
    for handle in handles:
        handle.remove()
    return gradient


guided_backprop = Hidden(
    cases=[
        Case("one image", images=normal(1, 3, 4, 5), labels=_label(2), weights=convolutional(3, 3, 4)),
        Case("no ReLU", images=normal(2, 2, 3, 4), labels=_label(1, 0), weights=linear(3, 24)),
        Case("three ReLUs", images=normal(2, 1, 6, 5), labels=_label(1, 0), weights=convolutional(3, 1, 4, 6, 5)),
        Case("one colour", images=normal(3, 1, 5, 3), labels=_label(0, 0, 1), weights=convolutional(2, 1, 5)),
        Case(
            "non-contiguous", images=normal(3, 2, 4, 5), labels=_label(2, 0, 1), weights=convolutional(3, 2, 4, 4)
        ).strided(),
        Case("float32", images=normal(3, 3, 5, 4), labels=_label(0, 3, 1), weights=convolutional(4, 3, 6, 5)).float32(),
        Case(
            "everything speaks against the class",
            images=normal(2, 1, 3, 4),
            labels=_label(0, 0),
            weights={"kernel1": normal(2, 1, 3, 3), "matrix": given([[-1.0, -2.0], [1.0, 1.0]]), "bias": normal(2)},
        ),
        Case(
            "everything speaks for the class",
            images=normal(2, 1, 3, 4),
            labels=_label(1, 1),
            weights={"kernel1": normal(2, 1, 3, 3), "matrix": given([[-1.0, -2.0], [1.0, 1.0]]), "bias": normal(2)},
        ),
        Case(
            "large numbers",
            images=normal(2, 2, 3, 4, std=100.0),
            labels=_label(1, 2),
            weights=convolutional(3, 2, 4, 3),
        ),
    ],
    mutants={
        "leaves all hooks": lambda *a: _guide(*a, remove=False),
        "removes one hook of several": _removes_one,
        "replaces the model's ReLUs for good": _by_replacing,
        "hooks convolutions": lambda *a: _guide(*a, kind=nn.Conv2d),
        "looks at children only": lambda *a: _guide(*a, modules=lambda model: model.children()),
        "the hook returns nothing": _without_return,
        "keeps the negative": lambda *a: _guide(*a, rule=lambda into: into.clamp(max=0)),
        "absolute values": lambda *a: _guide(*a, rule=torch.abs),
        "signs": lambda *a: _guide(*a, rule=lambda into: into.clamp(min=0).sign()),
        "no hooks": _gradient,
        "cuts at the image": lambda *a: _gradient(*a).clamp(min=0),
        "makes the images require gradients": lambda m, x, y: (_guide(m, x, y), x.requires_grad_())[0],
        "opposite sign": lambda *a: -_guide(*a),
    },
    solutions={
        "hooks on the modules": _guide,
        "hooks on the tensors": _by_output,
        "a copy with other ReLUs": _by_copy,
    },
)
