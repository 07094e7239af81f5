"""Ready-made sequence layers agree with their formulas, step by step, forward and backward."""

import math

import pytest
import torch

from dlcvkit import sequences

N, T, D, H, V = 3, 4, 5, 2, 6


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rnn_step_by_hand(x, h, wx, wh, b):
    return torch.tanh(x @ wx + h @ wh + b)


def lstm_step_by_hand(x, h, c, wx, wh, b):
    i, f, o, g = (x @ wx + h @ wh + b).split(h.shape[1], dim=1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def rnn_by_hand(x, h, *weights):
    out = []
    for step in range(x.shape[1]):
        h = rnn_step_by_hand(x[:, step], h, *weights)
        out.append(h)
    return torch.stack(out, 1)


def lstm_by_hand(x, h, *weights):
    out, c = [], torch.zeros_like(h)
    for step in range(x.shape[1]):
        h, c = lstm_step_by_hand(x[:, step], h, c, *weights)
        out.append(h)
    return torch.stack(out, 1)


def weights(gates: int) -> list[torch.Tensor]:
    return [draw(D, gates * H, seed=1), draw(H, gates * H, seed=2), draw(gates * H, seed=3)]


PAIRS = {
    "rnn": (sequences.rnn_forward, sequences.rnn_backward, rnn_by_hand, [draw(N, T, D), draw(N, H), *weights(1)]),
    "lstm": (sequences.lstm_forward, sequences.lstm_backward, lstm_by_hand, [draw(N, T, D), draw(N, H), *weights(4)]),
    "rnn step": (
        sequences.rnn_step_forward,
        sequences.rnn_step_backward,
        rnn_step_by_hand,
        [draw(N, D), draw(N, H), *weights(1)],
    ),
    "temporal affine": (
        sequences.temporal_affine_forward,
        sequences.temporal_affine_backward,
        lambda x, w, b: x @ w + b,
        [draw(N, T, D), draw(D, V), draw(V)],
    ),
}


def gradients(out, dout, arguments):
    return torch.autograd.grad(out, arguments, dout)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_layer_agrees_with_its_formula(name, dtype):
    forward, backward, by_hand, arguments = PAIRS[name]
    arguments = [argument.to(dtype) for argument in arguments]
    before = [argument.clone() for argument in arguments]
    with torch.no_grad():
        out, cache = forward(*arguments)
        dout = torch.randn(out.shape, generator=torch.Generator().manual_seed(9), dtype=dtype)
        found = backward(dout, cache)
    variables = [argument.clone().requires_grad_() for argument in arguments]
    expected = by_hand(*variables)
    close = {"atol": 1e-12 if dtype is torch.float64 else 1e-4}
    assert torch.allclose(out, expected, **close)
    for got, wanted in zip(found, gradients(expected, dout, variables), strict=True):
        assert torch.allclose(got, wanted, **close)
    assert all(torch.equal(*pair) for pair in zip(arguments, before, strict=True))


def test_an_lstm_step_agrees_with_its_formula():
    arguments = [draw(N, D), draw(N, H), draw(N, H, seed=4), *weights(4)]
    h, c, cache = sequences.lstm_step_forward(*arguments)
    dh, dc = draw(N, H, seed=5), draw(N, H, seed=6)
    found = sequences.lstm_step_backward(dh, dc, cache)
    variables = [argument.clone().requires_grad_() for argument in arguments]
    expected = lstm_step_by_hand(*variables)
    assert torch.allclose(h, expected[0]) and torch.allclose(c, expected[1])
    wanted = torch.autograd.grad(expected, variables, (dh, dc))
    assert all(torch.allclose(*pair) for pair in zip(found, wanted, strict=True))


@pytest.mark.parametrize("name", ["rnn", "lstm"])
def test_one_sequence_of_one_step_with_gaps_in_memory(name):
    forward, backward, by_hand, (_, _, *rest) = PAIRS[name]
    x, h0 = draw(D, 1, 1).permute(2, 1, 0), draw(H, 1).T
    gapped = [weight.T.contiguous().T for weight in rest[:2]]
    out, cache = forward(x, h0, *gapped, rest[2])
    assert torch.allclose(out, by_hand(x, h0, *rest))
    assert backward(out, cache)[0].shape == x.shape


def test_an_embedding_looks_words_up_and_adds_up_what_comes_back():
    w, words = draw(V, D), torch.tensor([[1, 1, 0], [5, 1, 2]])
    out, cache = sequences.word_embedding_forward(words, w)
    assert torch.equal(out, w[words])
    dw = sequences.word_embedding_backward(torch.ones_like(out), cache)
    assert dw[:, 0].tolist() == [1, 3, 1, 0, 0, 1]


def test_the_loss_sums_over_time_averages_over_the_batch_and_leaves_padding_out():
    y = torch.tensor([[1, 2, 0], [3, 0, 0]])
    loss, dx = sequences.temporal_softmax_loss(torch.zeros(2, 3, 4), y, y != 0)
    assert float(loss) == pytest.approx(3 * math.log(4) / 2)
    assert dx.shape == (2, 3, 4) and not dx.requires_grad
    assert dx[0, 0].tolist() == pytest.approx([0.125, -0.375, 0.125, 0.125])
    assert float(dx[0, 2].abs().max()) == float(dx[1, 1:].abs().max()) == 0.0


def test_the_gradient_of_the_loss_is_its_slope():
    x, y = draw(N, T, V), torch.arange(N * T).reshape(N, T) % V
    mask = y != 2
    _, dx = sequences.temporal_softmax_loss(x, y, mask)
    step = torch.zeros_like(x)
    step[1, 2, 3] = 1e-6
    up, down = (sequences.temporal_softmax_loss(x + sign * step, y, mask)[0] for sign in (1, -1))
    assert float(dx[1, 2, 3]) == pytest.approx(float((up - down) / 2e-6), rel=1e-5)
