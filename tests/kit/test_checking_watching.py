"""Forbidden operations are caught by what torch is asked to do, however it is spelt."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import nn

from dlcvkit.checking import (
    AUTOGRAD,
    READY_MADE_DISTANCES,
    TORCH_LAYERS,
    TORCH_OPTIM,
    Case,
    Function,
    check_functions,
    normal,
)
from dlcvkit.checking.watching import ForbiddenOps

IMAGES = torch.ones(1, 2, 5, 5)
KERNEL = torch.ones(3, 2, 3, 3)
MATRIX = torch.arange(12.0).reshape(3, 4)


def used(function, *groups):
    with torch.no_grad(), ForbiddenOps(frozenset().union(*groups)) as watch:
        function()
    return watch.used


LAYERS = {
    "F.conv2d": lambda: F.conv2d(IMAGES, KERNEL),
    "torch.conv2d": lambda: torch.conv2d(IMAGES, KERNEL),
    "getattr": lambda: getattr(F, "con" + "v2d")(IMAGES, KERNEL),
    "aten": lambda: torch.ops.aten.convolution(IMAGES, KERNEL, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1),
    "aten by name": lambda: getattr(torch.ops.aten, "conv" + "2d")(IMAGES, KERNEL),
    "importlib": lambda: importlib.import_module("torch.nn" + ".functional").relu(MATRIX),
    "nn.Module": lambda: nn.Conv2d(2, 3, 3)(IMAGES),
    "nn.ReLU": lambda: nn.ReLU()(MATRIX),
    "torch.relu": lambda: torch.relu(MATRIX),
    "method relu": lambda: MATRIX.relu(),
    "torch.softmax": lambda: torch.softmax(MATRIX, 1),
    "method log_softmax": lambda: MATRIX.log_softmax(1),
    "F.cross_entropy": lambda: F.cross_entropy(MATRIX, torch.tensor([0, 1, 2])),
    "F.layer_norm": lambda: F.layer_norm(MATRIX, (4,)),
    "torch.batch_norm": lambda: torch.batch_norm(IMAGES, None, None, None, None, True, 0.1, 1e-5, False),
    "F.max_pool2d": lambda: F.max_pool2d(IMAGES, 2),
    "F.dropout": lambda: F.dropout(MATRIX, 0.5),
    "F.unfold": lambda: F.unfold(IMAGES, 3),
    "F.gelu": lambda: F.gelu(MATRIX),
    "torch._C._nn": lambda: torch._C._nn.gelu(MATRIX),
    "F.embedding": lambda: F.embedding(torch.tensor([1]), MATRIX),
    "attention": lambda: F.scaled_dot_product_attention(MATRIX[None], MATRIX[None], MATRIX[None]),
    "nn.LSTM": lambda: nn.LSTM(4, 2)(MATRIX),
    "F.mse_loss": lambda: F.mse_loss(MATRIX, MATRIX),
    "torch.cdist": lambda: torch.cdist(MATRIX, MATRIX),
    "torch.threshold": lambda: torch.threshold(MATRIX, 0.0, 0.0),
    "in place": lambda: torch.relu_(MATRIX.clone()),
    "aten's gradients": lambda: torch.ops.aten.gelu_backward(MATRIX, MATRIX),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_caught(name):
    assert used(LAYERS[name], TORCH_LAYERS) is not None


ALLOWED = {
    "matmul": lambda: MATRIX @ MATRIX.T,
    "torch.matmul": lambda: torch.matmul(MATRIX, MATRIX.T),
    "bmm": lambda: torch.bmm(MATRIX[None], MATRIX.T[None]),
    "einsum": lambda: torch.einsum("ij,kj->ik", MATRIX, MATRIX),
    "clamp": lambda: MATRIX.clamp(min=0),
    "maximum": lambda: torch.maximum(MATRIX, torch.zeros(())),
    "where": lambda: torch.where(MATRIX > 0, MATRIX, 0),
    "logsumexp": lambda: MATRIX.logsumexp(1),
    "exp and sum": lambda: MATRIX.exp() / MATRIX.exp().sum(1, keepdim=True),
    "mean and var": lambda: (MATRIX - MATRIX.mean(0)) / MATRIX.var(0).sqrt(),
    "indexing": lambda: MATRIX[torch.arange(3), torch.tensor([0, 1, 2])],
    "scatter": lambda: torch.zeros(3, 4).scatter_(1, torch.tensor([[0], [1], [2]]), 1.0),
    "one_hot": lambda: F.one_hot(torch.tensor([0, 2])),
    "pad": lambda: F.pad(IMAGES, (1, 1, 1, 1)),
    "svd": lambda: torch.linalg.svd(MATRIX),
    "topk and sort": lambda: (MATRIX.topk(2), MATRIX.sort(), MATRIX.argsort(), MATRIX.unique()),
    "stack and cat": lambda: torch.cat([torch.stack([MATRIX]), MATRIX[None]]),
    "factories": lambda: (torch.zeros(2), torch.eye(2), torch.arange(3), MATRIX.new_ones(2), torch.rand(2)),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_building_blocks_are_allowed(name):
    assert used(ALLOWED[name], TORCH_LAYERS, AUTOGRAD, READY_MADE_DISTANCES) is None


def leaf():
    return torch.ones(3).requires_grad_()


def gradient_by_backward():
    with torch.enable_grad():
        x = leaf()
        (x * x).sum().backward()


def gradient_by_grad():
    with torch.enable_grad():
        x = torch.ones(3, requires_grad=True)
        torch.autograd.grad((x * x).sum(), x)


def gradient_by_attribute():
    x = torch.ones(3)
    x.requires_grad = True
    with torch.enable_grad():
        (x * x).sum().backward()


AUTOGRAD_FORMS = {
    "backward": gradient_by_backward,
    "autograd.grad": gradient_by_grad,
    "requires_grad =": gradient_by_attribute,
    "autograd.backward": lambda: torch.autograd.backward(MATRIX.new_ones(1).requires_grad_() * 1, torch.ones(1)),
    "func.grad": lambda: torch.func.grad(lambda x: (x * x).sum())(torch.ones(3)),
    "func.vjp": lambda: torch.func.vjp(lambda x: x * x, torch.ones(3))[1](torch.ones(3)),
    "functional.jacobian": lambda: torch.autograd.functional.jacobian(lambda x: x * x, torch.ones(3)),
    "func.jacrev": lambda: torch.func.jacrev(lambda x: x * x)(torch.ones(3)),
}


@pytest.mark.parametrize("name", AUTOGRAD_FORMS)
def test_autograd_is_caught_in_every_form(name):
    with torch.enable_grad(), ForbiddenOps(AUTOGRAD) as watch:
        AUTOGRAD_FORMS[name]()
    assert watch.used is not None and watch.used.startswith("autograd")


def stepped_by(optimiser, **options):
    w = MATRIX.clone()
    w.grad = torch.ones_like(w)
    optimiser([w], lr=0.1, **options).step()


OPTIMISERS = {
    "SGD": lambda: stepped_by(torch.optim.SGD),
    "foreach": lambda: stepped_by(torch.optim.Adam, foreach=True),
    "functional": lambda: importlib.import_module("torch.optim.adagrad").adagrad(
        [MATRIX.clone()], [MATRIX], [MATRIX.clone()], [torch.tensor(0.0)],
        lr=0.1, weight_decay=0.0, lr_decay=0.0, eps=0.1, maximize=False, has_sparse_grad=False,
    ),
    "fused": lambda: torch._fused_sgd_(
        [MATRIX.clone()], [MATRIX], [], weight_decay=0.0, momentum=0.0, lr=0.1, dampening=0.0, nesterov=False,
        maximize=False, is_first_step=True,
    ),
    "clip_grad_norm_": lambda: nn.utils.get_total_norm([MATRIX]),
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIMISERS)
def test_optimisers_are_caught(name):
    assert used(OPTIMISERS[name], TORCH_OPTIM) is not None


@pytest.mark.parametrize("name", ALLOWED)
def test_arithmetic_is_no_optimiser(name):
    assert used(ALLOWED[name], TORCH_OPTIM) is None


@pytest.mark.parametrize("name", ["F.conv2d", "torch.softmax"])
def test_what_is_not_forbidden_passes(name):
    assert used(LAYERS[name], AUTOGRAD) is None
    assert used(LAYERS[name]) is None


def test_single_operations_can_be_forbidden():
    assert used(lambda: torch.cdist(MATRIX, MATRIX), READY_MADE_DISTANCES) == "torch.cdist"
    assert used(lambda: F.pairwise_distance(MATRIX, MATRIX), READY_MADE_DISTANCES) is not None
    assert used(lambda: torch.dist(MATRIX, MATRIX), READY_MADE_DISTANCES) == "torch.dist"


def test_the_watch_ends_with_the_block_even_after_an_error():
    watch = ForbiddenOps(TORCH_LAYERS)
    with pytest.raises(ValueError, match="student"), watch:
        raise ValueError("student")
    torch.relu(MATRIX)
    assert watch.used is None


RELU = Function(
    functions=("rectify",),
    reference=lambda x: x.clamp(min=0),
    cases=[Case(x=normal(3, 4))],
    points={"out": 1},
    forbidden=TORCH_LAYERS,
    id="t/rectify",
)


def test_a_forbidden_operation_costs_the_points_and_is_named():
    report = check_functions(RELU, [torch.relu])
    assert report.earned == 0 and report.verdict == "forbidden_op"
    assert report.problem.text == "uses torch.relu, which this exercise wants written by hand"
    assert check_functions(RELU, [lambda x: x.clamp(min=0)]).verdict == "pass"


FIRST_CHECK = """
import sys, torch
from dlcvkit.checking.watching import ForbiddenOps, TORCH_LAYERS
assert "torch._dynamo" not in sys.modules
with torch.no_grad(), ForbiddenOps(TORCH_LAYERS):
    torch.ones(2) + 1
assert "torch._dynamo" not in sys.modules
"""


def test_a_first_check_does_not_import_torchs_compiler():
    subprocess.run([sys.executable, "-c", FIRST_CHECK], check=True)
