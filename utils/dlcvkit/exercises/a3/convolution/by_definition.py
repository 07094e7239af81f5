"""Convolution as it is defined, forward and backward."""

from __future__ import annotations

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, ForwardBackward
from dlcvkit.exercises.a3.convolution.faults import GRADIENT_MISTAKES, OUTPUT_MISTAKES, PUBLIC_CASES, conv

conv_naive = ForwardBackward(
    functions=("conv_forward_naive", "conv_backward_naive"),
    reference=conv,
    cases=PUBLIC_CASES,
    points={"out": 3, "dx": 2, "dw": 2, "db": 1},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[*OUTPUT_MISTAKES, *GRADIENT_MISTAKES],
)
