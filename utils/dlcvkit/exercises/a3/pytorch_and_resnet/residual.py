"""Plain, residual and bottleneck blocks."""

from __future__ import annotations

from dlcvkit.checking import Case, Interrupted, Mistake, Module, normal
from dlcvkit.exercises.a3.pytorch_and_resnet.pieces import (
    answers_of,
    conv_weights,
    convolve,
    norm_weights,
    normalise,
    use_in_both_modes,
)


def _shortcut(x, weights, is_training, stride, *, without_norm=False, relu=False):
    if "shortcut.0.weight" not in weights:
        return x.relu() if relu else x
    h = convolve(x, weights, "shortcut.0", stride)
    h = h if without_norm else normalise(h, weights, "shortcut.1", is_training)
    return h.relu() if relu else h


def _branch(x, weights, is_training, sizes, *, without_relu=(), norm_last=False, without_norm=()):
    """Convolutions and norms in a row, ``sizes`` strides, without the last ReLU."""
    for number, stride in enumerate(sizes, 1):
        x = convolve(x, weights, f"conv{number}", stride)
        is_last, bn = number == len(sizes), f"bn{number}"
        if norm_last and not is_last:
            x = x.relu()
        x = x if number in without_norm else normalise(x, weights, bn, is_training)
        if not (is_last or norm_last or number in without_relu):
            x = x.relu()
    return x


def _block(
    x,
    weights,
    is_training,
    init,
    *,
    strides=None,
    has_shortcut=True,
    last="after",
    always_batch=False,
    never_batch=False,
    sign=1,
    half=False,
    first_only=False,
    shortcut=None,
    **branch,
):
    """Any of the three blocks; each keyword switches a mistake on."""
    s = init.get("stride", 1)
    is_training = (is_training or always_batch) and not never_batch
    count = 3 if "conv3.weight" in weights else 2
    strides = strides(s) if strides else (1, s, 1) if count == 3 else (s, 1)
    out = _branch(x, weights, is_training, strides, **branch)
    if last in ("before", "both"):
        out = out.relu()
    if has_shortcut:
        out = sign * out + _shortcut(x, weights, is_training, s, **(shortcut or {}))
        out = out / 2 if half else out
    return out if last in ("before", "never") else out.relu()


def _use(net, x, fresh):
    """Return outputs, gradients, and the gammas that a new block starts with.

    Raises:
        Interrupted: If there are no gradients.
    """
    first = {}
    for word in (True, False):
        new = type(net)(**fresh, zero_init=word)
        gammas = {name: w.detach().to(x) for name, w in new.named_parameters() if w.dim() == 1 and "weight" in name}
        first["zero_init" if word else "otherwise"] = gammas
    try:
        return (*use_in_both_modes(net, x), first)
    except Interrupted as stop:
        if stop.result is None:
            raise
        raise Interrupted(stop.cause, (*stop.result, first), stop.lost) from None


def _with_gammas(start="right", **flags):
    """A block with shortcut; ``start`` says which gammas it begins with."""

    def reference(init, params, x, fresh):
        channels, width = fresh["in_channels"], fresh["width"]
        is_deep = "conv3.weight" in params
        sizes = {"bn1": width, "bn2": width} | ({"bn3": 4 * width} if is_deep else {})
        last = list(sizes)[-1]
        if fresh["stride"] != 1 or channels != sizes[last]:
            sizes["shortcut.1"] = sizes[last]

        def value(name, is_zero):
            zeros = {
                "right": [last],
                "never": [],
                "all": list(sizes),
                "first": ["bn1"],
                "second": ["bn2"],
                "always": [last],
            }[start]
            return 0.0 if (is_zero or start == "always") and name in zeros else 1.0

        first = {
            word: {f"{name}.weight": x.new_full((size,), value(name, is_zero)) for name, size in sizes.items()}
            for word, is_zero in (("zero_init", True), ("otherwise", False))
        }
        return (*answers_of(_block, **flags)(init, params, x), first)

    return reference


def plain_case(name, N, channels, sizes, width, stride, std=1.0):
    """Describe a case of the plain block."""
    params = {
        **conv_weights("conv1", width, channels, 3),
        **norm_weights("bn1", width),
        **conv_weights("conv2", width, width, 3),
        **norm_weights("bn2", width),
    }
    init = {"in_channels": channels, "width": width, "stride": stride}
    return Case(name, init=init, params=params, x=normal(N, channels, *sizes, std=std))


def _with_shortcut(params, channels, out_channels, stride):
    if stride != 1 or channels != out_channels:
        params |= conv_weights("shortcut.0", out_channels, channels, 1) | norm_weights("shortcut.1", out_channels)
    return params


def residual_case(name, N, channels, sizes, width, stride, std=1.0):
    """Describe a case of the residual block."""
    plain = plain_case(name, N, channels, sizes, width, stride, std).inputs
    params = _with_shortcut(dict(plain["params"]), channels, width, stride)
    fresh = {"in_channels": channels, "width": width, "stride": stride}
    return Case(name, init=plain["init"], params=params, x=plain["x"], fresh=fresh)


def bottleneck_case(name, N, channels, sizes, width, stride, std=1.0):
    """Describe a case of the bottleneck."""
    params = {
        **conv_weights("conv1", width, channels, 1),
        **norm_weights("bn1", width),
        **conv_weights("conv2", width, width, 3),
        **norm_weights("bn2", width),
        **conv_weights("conv3", 4 * width, width, 1),
        **norm_weights("bn3", 4 * width),
    }
    params = _with_shortcut(params, channels, 4 * width, stride)
    init = {"in_channels": channels, "width": width, "stride": stride}
    return Case(name, init=init, params=params, x=normal(N, channels, *sizes, std=std), fresh=dict(init))


def _shared_mistakes(of, layers):
    """Mistakes that every block knows, ``layers`` convolutions deep."""
    return [
        Mistake("leaves the last ReLU out", of(last="never"), hint="a ReLU is the last thing that the block does"),
        Mistake(
            "leaves the ReLU after bn1 out",
            of(without_relu=(1,)),
            hint="a ReLU follows every batch norm but, where there is an addition, the last one",
        ),
        Mistake(
            "puts ReLU in front of batch norm",
            of(norm_last=True),
            hint="the order is convolution, batch norm, ReLU",
        ),
        Mistake("leaves bn1 out", of(without_norm=(1,)), hint="a batch norm follows every convolution"),
        Mistake(f"leaves bn{layers} out", of(without_norm=(layers,)), hint="a batch norm follows every convolution"),
        Mistake(
            "uses the batch's statistics in evaluation mode too",
            of(always_batch=True),
            hint="nn.BatchNorm2d knows its mode by itself, as long as it is an attribute of the module",
        ),
        Mistake(
            "uses the running statistics in training mode too",
            of(never_batch=True),
            hint="nn.BatchNorm2d knows its mode by itself: nothing in the block has to switch it",
        ),
    ]


def _shortcut_mistakes(layers):
    return [
        Mistake(
            "leaves the shortcut out",
            _with_gammas(has_shortcut=False),
            hint="what is added before the last ReLU?",
        ),
        Mistake(
            "applies the last ReLU before the addition instead of after it",
            _with_gammas(last="before"),
            hint="the branch may be negative: the addition comes first, then ReLU",
        ),
        Mistake(
            "applies ReLU to the branch before the addition as well",
            _with_gammas(last="both"),
            hint=f"between bn{layers} and the addition nothing happens",
        ),
        Mistake(
            "lets the shortcut carry ReLU(x), or a ReLU follow the projection",
            _with_gammas(shortcut={"relu": True}),
            hint="the shortcut holds no ReLU; does a ReLU with inplace=True overwrite x somewhere?",
        ),
        Mistake(
            "leaves the batch norm of the projection out",
            _with_gammas(shortcut={"without_norm": True}),
            hint="the projection is a convolution and a batch norm",
        ),
        Mistake("subtracts the branch", _with_gammas(sign=-1), hint="branch and shortcut are added"),
        Mistake("halves the sum", _with_gammas(half=True), hint="branch and shortcut are added, not averaged"),
        Mistake(
            "ignores zero_init",
            _with_gammas(start="never"),
            hint=f"with zero_init the weight of bn{layers} starts at 0: torch.nn.init changes a weight in place",
        ),
        Mistake(
            "starts bn1 at 0 instead of the last batch norm",
            _with_gammas(start="first"),
            hint="the branch has to be 0 at the start: which of its layers has the last word?",
        ),
        Mistake(
            "starts all gammas at 0",
            _with_gammas(start="all"),
            hint="one gamma is enough for a branch of 0; with a projection of 0 the block would give nothing at all",
        ),
        Mistake(
            "starts the last gamma at 0 whatever zero_init says",
            _with_gammas(start="always"),
            hint="without zero_init torch's own start is kept",
        ),
    ]


def _plain(**flags):
    return answers_of(_block, has_shortcut=False, **flags)


plain_block = Module(
    functions=("PlainBlock",),
    reference=_plain(),
    call=use_in_both_modes,
    cases=[
        plain_case("stride 1", 2, 3, (4, 5), 4, 1),
        plain_case("stride 2, odd sizes", 3, 2, (7, 5), 5, 2),
    ],
    points={"evaluation": 1, "training": 2, "gradients": 1},
    mistakes=[
        *_shared_mistakes(_plain, 2),
        Mistake(
            "gives the stride to the second convolution",
            _plain(strides=lambda s: (1, s)),
            hint="the first convolution carries the stride",
        ),
        Mistake(
            "gives the stride to both convolutions",
            _plain(strides=lambda s: (s, s)),
            hint="the first convolution carries the stride, and it alone",
        ),
    ],
)

residual_block = Module(
    functions=("ResidualBlock",),
    reference=_with_gammas(),
    call=_use,
    cases=[
        residual_case("identity", 2, 4, (5, 3), 4, 1),
        residual_case("stride 2", 3, 3, (6, 7), 3, 2),
        residual_case("more channels", 2, 2, (4, 5), 5, 1),
    ],
    points={"evaluation": 2, "training": 2, "gradients": 1, "first gammas": 1},
    mistakes=[
        *_shortcut_mistakes(2),
        *_shared_mistakes(_with_gammas, 2),
        Mistake(
            "gives the stride to the second convolution",
            _with_gammas(strides=lambda s: (1, s)),
            hint="the first convolution carries the stride",
        ),
    ],
)

bottleneck_block = Module(
    functions=("BottleneckBlock",),
    reference=_with_gammas(),
    call=_use,
    cases=[
        bottleneck_case("identity", 2, 8, (5, 3), 2, 1),
        bottleneck_case("stride 2", 3, 12, (6, 7), 3, 2),
        bottleneck_case("more channels", 2, 3, (4, 5), 2, 1),
    ],
    points={"evaluation": 2, "training": 1, "gradients": 1, "first gammas": 1},
    mistakes=[
        *_shortcut_mistakes(3),
        Mistake(
            "starts bn2 at 0 instead of the last batch norm",
            _with_gammas(start="second"),
            hint="with bn2 at 0 the branch is what bn3 makes of a constant: which of its layers has the last word?",
        ),
        *_shared_mistakes(_with_gammas, 3),
        Mistake(
            "leaves the ReLU after bn2 out",
            _with_gammas(without_relu=(2,)),
            hint="a ReLU follows every batch norm but the last one",
        ),
        Mistake(
            "gives the stride to the first convolution",
            _with_gammas(strides=lambda s: (s, 1, 1)),
            hint="the stride belongs to the 3×3 convolution",
        ),
        Mistake(
            "gives the stride to the last convolution",
            _with_gammas(strides=lambda s: (1, 1, s)),
            hint="the stride belongs to the 3×3 convolution",
        ),
    ],
)
