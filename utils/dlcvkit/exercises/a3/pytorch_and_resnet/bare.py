"""One small net at three levels: bare tensors, a module, a sequence of layers."""

from __future__ import annotations

from torch.nn import functional

from dlcvkit.checking import Case, Function, Mistake, Module, normal
from dlcvkit.exercises.a3.pytorch_and_resnet.pieces import (
    conv_weights,
    fc_weights,
    gradients_of,
    gradients_or_stop,
    use_once,
)

_BARE = ("W1", "b1", "W2", "b2", "W3", "b3")


def _scores(
    x,
    w1,
    b1,
    w2,
    b2,
    w3,
    b3,
    *,
    without_first_relu=False,
    without_second_relu=False,
    relu_on_scores=False,
    without_pooling=False,
    mean_pooling=False,
    pools_upwards=False,
    global_maximum=False,
    total=False,
    without_padding=False,
    pools_twice=False,
    stops=False,
):
    """The net with its affine weights as torch keeps them; each keyword switches a mistake on."""
    pad = 0 if without_padding else 1
    h = functional.conv2d(x, w1, b1, padding=pad)
    h = h if without_first_relu else h.relu()
    if mean_pooling:
        h = functional.avg_pool2d(h, 2)
    elif not without_pooling:
        h = functional.max_pool2d(h, 2, ceil_mode=pools_upwards)
    h = functional.conv2d(h.detach() if stops else h, w2, b2, padding=pad)
    h = h if without_second_relu else h.relu()
    h = functional.max_pool2d(h, 2) if pools_twice else h
    flat = h.flatten(2)
    flat = flat.amax(2) if global_maximum else flat.sum(2) if total else flat.mean(2)
    scores = functional.linear(flat, w3, b3)
    return scores.relu() if relu_on_scores else scores


def _of_module(**flags):
    def reference(init, params, x):
        weights = {name: value.detach().clone().requires_grad_() for name, value in params.items()}
        gradients = gradients_of(lambda images: _scores(images, *weights.values(), **flags), x, weights)
        return _scores(x, *params.values(), **flags), gradients

    return reference


def _of_tensors(**flags):
    def reference(x, params):
        weights = {name: params[name].detach().clone().requires_grad_() for name in _BARE}

        def forward(images, bare):
            return _scores(images, *(w.T if name == "W3" else w for name, w in bare.items()), **flags)

        gradients = gradients_of(lambda images: forward(images, weights), x, weights)
        return forward(x, {name: params[name] for name in _BARE}), gradients

    return reference


def _use_tensors(function, x, params):
    scores = function(x, params)
    weights = {name: params[name].detach().clone().requires_grad_() for name in _BARE}
    return scores, gradients_or_stop(lambda images: function(images, weights), x, weights, [scores])


def _mistakes(of):
    return [
        Mistake(
            "leaves the first ReLU out",
            of(without_first_relu=True),
            hint="a ReLU follows each of the two convolutions",
        ),
        Mistake(
            "leaves the second ReLU out",
            of(without_second_relu=True),
            hint="a ReLU follows each of the two convolutions",
        ),
        Mistake(
            "applies ReLU to the scores",
            of(relu_on_scores=True),
            hint="scores may be negative: nothing comes after the affine layer",
        ),
        Mistake(
            "leaves the max-pooling out",
            of(without_pooling=True),
            hint="what stands between the first ReLU and the second convolution?",
        ),
        Mistake(
            "pools with the mean where the maximum is wanted",
            of(mean_pooling=True),
            hint="there are two poolings in the net, and they are of different kinds",
        ),
        Mistake(
            "lets the pooling go over the border at odd sizes",
            of(pools_upwards=True),
            hint="the pooled size is rounded down",
        ),
        Mistake(
            "takes the maximum over all pixels where the mean is wanted",
            of(global_maximum=True),
            hint="there are two poolings in the net, and they are of different kinds",
        ),
        Mistake(
            "adds the pixels up instead of averaging them",
            of(total=True),
            hint="global average pooling gives the mean of each channel, so that the image size does not matter",
        ),
        Mistake(
            "convolves without padding",
            of(without_padding=True),
            hint="both convolutions keep height and width",
        ),
    ]


def bare_case(name, N, channels, sizes, widths, K, std=1.0):
    """Describe a case of ``convnet_by_tensors``: images (N, channels, *sizes), widths (F1, F2)."""
    (first, second) = tuple(widths)
    params = {
        "W1": normal(first, channels, 3, 3, std=0.4),
        "b1": normal(first, std=0.5),
        "W2": normal(second, first, 3, 3, std=0.3),
        "b2": normal(second, std=0.5),
        "W3": normal(second, K),
        "b3": normal(K, std=0.5),
    }
    return Case(name, x=normal(N, channels, *sizes, std=std), params=params)


def net_case(name, N, channels, sizes, widths, K, *, names=("conv1", "conv2", "fc"), std=1.0):
    """Describe a case of the module or of the sequence, by the names of its layers."""
    (first, second) = tuple(widths)
    init = {"in_channels": channels, "widths": [first, second], "num_classes": K}
    params = {
        **conv_weights(names[0], first, channels, 3, bias=True),
        **conv_weights(names[1], second, first, 3, bias=True),
        **fc_weights(names[2], K, second),
    }
    return Case(name, init=init, params=params, x=normal(N, channels, *sizes, std=std))


def layers_case(name, *sizes, **options):
    """Describe a case of the sequence."""
    return net_case(name, *sizes, names=("0", "3", "7"), **options)


convnet_by_tensors = Function(
    functions=("convnet_by_tensors",),
    reference=_of_tensors(),
    call=_use_tensors,
    cases=[
        bare_case("two images of 3×8×9", 2, 3, (8, 9), (4, 5), 6),
        bare_case("odd sizes", 3, 2, (7, 5), (5, 3), 4),
    ],
    points={"scores": 2, "gradients": 1},
    mistakes=[
        *_mistakes(_of_tensors),
        Mistake(
            "lets no gradient through to the first layer",
            _of_tensors(stops=True),
            hint="detach, item, data and new tensors made of old ones cut the graph",
        ),
    ],
)

convnet_by_module = Module(
    functions=("ConvNet",),
    reference=_of_module(),
    call=use_once,
    cases=[
        net_case("two images of 3×8×9", 2, 3, (8, 9), (4, 5), 6),
        net_case("odd sizes", 3, 2, (7, 5), (5, 3), 4),
    ],
    points={"scores": 2, "gradients": 1},
    mistakes=_mistakes(_of_module),
)

convnet_by_layers = Module(
    functions=("convnet_by_layers",),
    reference=_of_module(),
    call=use_once,
    cases=[
        layers_case("two images of 3×8×9", 2, 3, (8, 9), (4, 5), 6),
        layers_case("odd sizes", 3, 2, (7, 5), (5, 3), 4),
    ],
    points={"scores": 2, "gradients": 1},
    mistakes=_mistakes(_of_module),
)
