"""Convolution as it is defined, forward and backward."""

from __future__ import annotations

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, Case, ForwardBackward, normal
from dlcvkit.exercises.a3.convolution.faults import GRADIENT_MISTAKES, OUTPUT_MISTAKES, conv

conv_naive = ForwardBackward(
    functions=("conv_forward_naive", "conv_backward_naive"),
    reference=conv,
    cases=[
        Case(
            "two images of 3×5×4, padded",
            x=normal(2, 3, 5, 4),
            w=normal(2, 3, 3, 2),
            b=normal(2),
            conv_param={"stride": 1, "pad": 1},
            dout=normal(2, 2, 5, 5),
        ),
        Case(
            "a stride that leaves pixels over",
            x=normal(2, 2, 6, 7),
            w=normal(3, 2, 3, 2),
            b=normal(3),
            conv_param={"stride": 2},
            dout=normal(2, 3, 2, 3),
        ),
        Case(
            "dilation and two groups",
            x=normal(2, 4, 5, 6),
            w=normal(4, 2, 2, 3),
            b=normal(4),
            conv_param={"dilation": 2, "groups": 2},
            dout=normal(2, 4, 3, 2),
        ),
    ],
    points={"out": 3, "dx": 2, "dw": 2, "db": 1},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[*OUTPUT_MISTAKES, *GRADIENT_MISTAKES],
)
