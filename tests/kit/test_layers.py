"""Ready-made layers agree with their formulas, and can be used backward more than once."""

import math

import pytest
import torch

from dlcvkit.layers import (
    affine_backward,
    affine_forward,
    conv_backward,
    conv_forward,
    layer,
    layernorm_backward,
    layernorm_forward,
    max_pool_backward,
    max_pool_forward,
    relu_backward,
    relu_forward,
    softmax_loss,
    spatial_batchnorm_backward,
    spatial_batchnorm_forward,
    svm_loss,
)


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_affine_agrees_with_its_formula_inside_no_grad():
    x, w, b, dout = draw(3, 2, 2), draw(4, 5), draw(5), draw(3, 5)
    with torch.no_grad():
        out, cache = affine_forward(x, w, b)
        dx, dw, db = affine_backward(dout, cache)
    assert torch.allclose(out, x.flatten(1) @ w + b)
    assert torch.allclose(dx, (dout @ w.T).reshape(x.shape))
    assert torch.allclose(dw, x.flatten(1).T @ dout)
    assert torch.allclose(db, dout.sum(0))
    assert not any(tensor.requires_grad for tensor in (x, w, b, out, dx, dw, db))


def test_a_cache_can_be_used_twice():
    out, cache = relu_forward(draw(4, 3))
    assert torch.equal(relu_backward(out, cache), relu_backward(out, cache))


def test_plain_arguments_and_labels_get_no_gradient():
    forward, backward = layer(lambda x, index, factor: factor * x[index])
    out, cache = forward(draw(4), torch.tensor([2, 0]), 3.0)
    assert backward(torch.ones_like(out), cache).tolist() == [3, 0, 3, 0]


@pytest.mark.parametrize(("loss", "first"), [(softmax_loss, math.log(4)), (svm_loss, 3.0)], ids=["softmax", "svm"])
def test_losses_of_equal_scores_and_their_gradients(loss, first):
    y = torch.arange(6) % 4
    assert float(loss(torch.zeros(6, 4), y)[0]) == pytest.approx(first)
    scores = draw(6, 4)
    value, gradient = loss(scores, y)
    assert value.dim() == 0 and gradient.shape == scores.shape and not gradient.requires_grad
    step = torch.zeros_like(scores)
    step[2, 1] = 1e-6
    slope = (loss(scores + step, y)[0] - loss(scores - step, y)[0]) / 2e-6
    assert float(gradient[2, 1]) == pytest.approx(float(slope), rel=1e-5)


def test_layer_norm_agrees_with_its_formula():
    x, gamma, beta = draw(3, 5), draw(5) + 2, draw(5)
    out, cache = layernorm_forward(x, gamma, beta)
    centred = x - x.mean(1, keepdim=True)
    assert torch.allclose(out, gamma * centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt() + beta)
    dx, dgamma, dbeta = layernorm_backward(torch.ones_like(out), cache)
    assert torch.allclose(dbeta, torch.full((5,), 3.0, dtype=torch.float64))
    assert torch.allclose(dgamma, ((out - beta) / gamma).sum(0))
    assert dx.shape == x.shape and float(dx.sum(1).abs().max()) < 1e-12  # shifting a row changes nothing


def test_softmax_loss_is_linear_in_labels_that_are_distributions():
    scores, y, other = draw(6, 4), torch.arange(6) % 4, torch.arange(6) % 3
    eye = torch.eye(4, dtype=torch.float64)
    mixed = softmax_loss(scores, 0.3 * eye[y] + 0.7 * eye[other])
    for got, one, two in zip(mixed, softmax_loss(scores, y), softmax_loss(scores, other), strict=True):
        assert torch.allclose(got, 0.3 * one + 0.7 * two)


def test_a_convolution_of_one_position_is_a_product():
    x, w, b = draw(2, 3, 4, 2), draw(5, 3, 4, 2), draw(5)
    out, cache = conv_forward(x, w, b, {})
    assert out.shape == (2, 5, 1, 1)
    assert torch.allclose(out.flatten(1), x.flatten(1) @ w.flatten(1).T + b)
    dx, dw, db = conv_backward(torch.ones_like(out), cache)
    assert torch.allclose(dx, w.sum(0).expand(2, -1, -1, -1))
    assert torch.allclose(dw, x.sum(0).expand(5, -1, -1, -1))
    assert db.tolist() == [2] * 5


def test_a_convolution_takes_all_its_parameters():
    x, w, b = draw(1, 4, 9, 8), draw(6, 2, 3, 2), draw(6)
    out, cache = conv_forward(x, w, b, {"stride": 2, "pad": 1, "dilation": 2, "groups": 2})
    assert out.shape == (1, 6, 4, 4)
    assert [gradient.shape for gradient in conv_backward(out, cache)] == [x.shape, w.shape, b.shape]


def test_a_pool_takes_the_largest_and_drops_what_is_left_over():
    x = torch.arange(35.0).reshape(1, 1, 5, 7)
    out, cache = max_pool_forward(x, {"height": 2, "width": 3, "stride": 2})
    assert out.tolist() == [[[[9, 11, 13], [23, 25, 27]]]]
    dx = max_pool_backward(torch.ones_like(out), cache)
    assert dx.flatten().nonzero().flatten().tolist() == [9, 11, 13, 23, 25, 27]


def test_batch_norm_takes_the_batch_when_training_and_keeps_its_state_to_itself():
    x, gamma, beta, mean, var = draw(3, 2, 4, 5), draw(2), draw(2), draw(2), draw(2).abs()
    before = mean.clone(), var.clone()
    out, new_mean, new_var, cache = spatial_batchnorm_forward(x, gamma, beta, mean, var, True, momentum=0.75)
    assert torch.equal(mean, before[0]) and torch.equal(var, before[1])
    batch_mean, batch_var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
    assert torch.allclose(new_mean, 0.75 * mean + 0.25 * batch_mean)
    assert torch.allclose(new_var, 0.75 * var + 0.25 * batch_var)
    assert torch.allclose(out.mean((0, 2, 3)), beta) and torch.allclose(
        out.std((0, 2, 3), correction=0), gamma.abs(), rtol=1e-4
    )
    dx, dgamma, dbeta = spatial_batchnorm_backward(torch.ones_like(out), cache)
    assert torch.allclose(dx, torch.zeros_like(x), atol=1e-12), "a constant added to every output comes from no input"
    assert dbeta.tolist() == [60, 60] and torch.allclose(dgamma, torch.zeros(2, dtype=x.dtype), atol=1e-10)


def test_batch_norm_takes_its_state_when_evaluating():
    x, gamma, beta, mean, var = draw(1, 2, 3, 3), draw(2), draw(2), draw(2), draw(2).abs()
    out, new_mean, new_var, cache = spatial_batchnorm_forward(x, gamma, beta, mean, var, False)
    assert new_mean is mean and new_var is var
    scale = (gamma / (var + 1e-5).sqrt()).reshape(1, 2, 1, 1)
    assert torch.allclose(out, (x - mean.reshape(1, 2, 1, 1)) * scale + beta.reshape(1, 2, 1, 1))
    dx = spatial_batchnorm_backward(torch.ones_like(out), cache)[0]
    assert torch.allclose(dx, scale.expand_as(x))
