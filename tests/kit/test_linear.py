"""The ready-made losses agree with their formulas and with finite differences."""

import math

import pytest
import torch

from dlcvkit.linear import softmax_loss, svm_loss

LOSSES = [softmax_loss, svm_loss]


def draw_inputs():
    generator = torch.Generator().manual_seed(0)
    W = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    X = torch.randn(7, 5, generator=generator, dtype=torch.float64)
    return W, X, torch.arange(7) % 4


def test_first_losses_are_log_c_and_c_minus_1():
    _, X, y = draw_inputs()
    W = torch.zeros(5, 4, dtype=torch.float64)
    assert softmax_loss(W, X, y, 1.0)[0] == pytest.approx(math.log(4))
    assert svm_loss(W, X, y, 1.0)[0] == pytest.approx(3)


def test_hinge_loss_of_known_scores():
    scores = torch.tensor([[13.0, -7.0, 11.0]])
    assert svm_loss(torch.eye(3), scores, torch.tensor([0]), 0.0, delta=10.0)[0] == pytest.approx(8)


@pytest.mark.parametrize("loss_fn", LOSSES)
def test_gradient_matches_finite_differences_inside_no_grad(loss_fn):
    W, X, y = draw_inputs()
    before = W.clone()
    with torch.no_grad():
        _, gradient = loss_fn(W, X, y, 0.3)
    assert torch.equal(W, before)
    assert not gradient.requires_grad
    for place in [(0, 0), (2, 3), (4, 1)]:
        step = torch.zeros_like(W)
        step[place] = 1e-6
        slope = (loss_fn(W + step, X, y, 0.3)[0] - loss_fn(W - step, X, y, 0.3)[0]) / 2e-6
        assert gradient[place].item() == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("loss_fn", LOSSES)
def test_penalty_is_reg_times_the_sum_of_squares(loss_fn):
    W, X, y = draw_inputs()
    without, with_penalty = loss_fn(W, X, y, 0.0)[0], loss_fn(W, X, y, 0.5)[0]
    assert with_penalty - without == pytest.approx(0.5 * W.square().sum().item())
