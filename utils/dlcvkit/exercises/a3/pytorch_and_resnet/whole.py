"""The ResNet, out of blocks that the check brings along."""

from __future__ import annotations

from torch import nn
from torch.nn import functional

from dlcvkit.checking import Case, Function, Interrupted, Mistake, normal
from dlcvkit.checking.module import load_params
from dlcvkit.exercises.a3.pytorch_and_resnet.pieces import (
    answers_of,
    conv_weights,
    convolve,
    fc_weights,
    norm_weights,
    normalise,
    transform,
    use_in_both_modes,
)


class _Block(nn.Module):
    """A convolution and a leaky ReLU, with the slope as an option."""

    expansion = 1

    def __init__(self, in_channels, width, stride=1, slope=0.1):
        super().__init__()
        self.mix = nn.Conv2d(
            in_channels, self.expansion * width, kernel_size=(3, 3), stride=(stride,) * 2, padding=(1, 1)
        )
        self.slope = slope

    def forward(self, x):
        return functional.leaky_relu(self.mix(x), self.slope)


class _Wide(_Block):
    expansion = 3


BLOCKS = {"block": _Block, "wide block": _Wide}


def _use(resnet, block, init, params, x):
    net = resnet(BLOCKS[block], **init)
    load_params(net, params, "ResNet")
    features = net.eval().features(x)
    try:
        evaluation, training, gradients = use_in_both_modes(net, x)
    except Interrupted as stop:
        if stop.result is None:
            raise
        evaluation, training, gradients = stop.result
        raise Interrupted(stop.cause, (features, evaluation, training, gradients), stop.lost) from None
    return features, evaluation, training, gradients


def _features(
    x,
    weights,
    is_training,
    init,
    *,
    stem_stride=1,
    without_stem_relu=False,
    without_stem_norm=False,
    first_stride=1,
    strides_everywhere=False,
    no_strides=False,
    last_strides=False,
    global_maximum=False,
    total=False,
    forgets_options=False,
    stages=None,
    first_blocks=False,
):
    h = convolve(x, weights, "stem.0", stem_stride)
    h = h if without_stem_norm else normalise(h, weights, "stem.1", is_training)
    h = h if without_stem_relu else h.relu()
    slope = 0.1 if forgets_options else init.get("slope", 0.1)
    for number, count in enumerate(init["counts"][:stages]):
        for place in range(1 if first_blocks else count):
            is_halving = place == (count - 1 if last_strides else 0) or strides_everywhere
            stride = 1 if not is_halving or no_strides else first_stride if number == 0 else 2
            h = functional.leaky_relu(convolve(h, weights, f"stages.{number}.{place}.mix", stride), slope)
    flat = h.flatten(2)
    return flat.amax(2) if global_maximum else flat.sum(2) if total else flat.mean(2)


def _scores(x, weights, is_training, init, *, relu_on_scores=False, **flags):
    scores = transform(_features(x, weights, is_training, init, **flags), weights, "fc")
    return scores.relu() if relu_on_scores else scores


def _net(**flags):
    def reference(block, init, params, x):
        rest = {name: value for name, value in flags.items() if name != "relu_on_scores"}
        features = _features(x, params, False, init, **rest)
        return (features, *answers_of(_scores, **flags)(init, params, x))

    return reference


def resnet_case(name, N, channels, sizes, counts, widths, K, block="block", *, std=1.0, **options):
    """Describe a case: a net of ``counts`` blocks in stages of ``widths``."""
    expansion = BLOCKS[block].expansion
    params = conv_weights("stem.0", widths[0], channels, 3) | norm_weights("stem.1", widths[0])
    before = widths[0]
    for stage, width in enumerate(widths):
        for place in range(counts[stage]):
            params |= conv_weights(f"stages.{stage}.{place}.mix", expansion * width, before, 3, bias=True)
            before = expansion * width
    params |= fc_weights("fc", K, before)
    init = {"counts": list(counts), "widths": list(widths), "num_classes": K, "in_channels": channels, **options}
    return Case(name, block=block, init=init, params=params, x=normal(N, channels, *sizes, std=std))


resnet = Function(
    functions=("ResNet",),
    reference=_net(),
    call=_use,
    cases=[
        resnet_case("two stages", 2, 2, (7, 6), (1, 2), (3, 4), 5),
        resnet_case("three stages, expansion 3", 2, 3, (9, 5), (2, 1, 2), (2, 3, 2), 4, "wide block"),
        resnet_case("an option for the blocks", 3, 1, (5, 6), (2, 2), (3, 3), 2, slope=0.5),
    ],
    points={"features": 2, "evaluation": 2, "training": 1, "gradients": 1},
    mistakes=[
        Mistake(
            "starts the first stage with stride 2",
            _net(first_stride=2),
            hint="the first stage keeps height and width",
        ),
        Mistake(
            "gives every block of a stage the stride 2",
            _net(strides_everywhere=True),
            hint="only the first block of a stage halves height and width",
        ),
        Mistake(
            "gives no block a stride",
            _net(no_strides=True),
            hint="every stage but the first halves height and width once",
        ),
        Mistake(
            "gives the stride to the last block of a stage",
            _net(last_strides=True),
            hint="the first block of a stage halves height and width",
        ),
        Mistake(
            "gives the stem the stride 2",
            _net(stem_stride=2),
            hint="the stem keeps height and width",
        ),
        Mistake("leaves the ReLU of the stem out", _net(without_stem_relu=True), hint="the stem has three modules"),
        Mistake(
            "leaves the batch norm of the stem out",
            _net(without_stem_norm=True),
            hint="the stem has three modules",
        ),
        Mistake(
            "takes the maximum over all pixels",
            _net(global_maximum=True),
            hint="global average pooling takes the mean of each channel",
        ),
        Mistake(
            "adds the pixels up instead of averaging them",
            _net(total=True),
            hint="global average pooling takes the mean of each channel",
        ),
        Mistake(
            "does not pass the options on to the blocks",
            _net(forgets_options=True),
            hint="what the constructor got besides its own arguments belongs to every block",
        ),
        Mistake(
            "applies ReLU to the scores",
            _net(relu_on_scores=True),
            hint="nothing comes after the affine layer",
        ),
        Mistake(
            "uses the first block of each stage only",
            _net(first_blocks=True),
            hint="features runs through all blocks of all stages",
        ),
    ],
)
