"""Where the weights of a recurrent layer stand, and how many there are."""

from __future__ import annotations

import torch

from dlcvkit.checking import AUTOGRAD, Case, Function, Mistake, normal

# torch's LSTM in the course's layout.


def _converted(*, arrange=lambda i, f, g, o: (i, f, o, g), transpose=torch.t, add=torch.add):
    """The conversion with some of its parts replaced."""

    def ordered(w):
        return torch.cat(arrange(*w.chunk(4, dim=0)), dim=0)

    def convert(weight_ih, weight_hh, bias_ih, bias_hh):
        Wx, Wh = (transpose(ordered(w)) for w in (weight_ih, weight_hh))
        return Wx, Wh, ordered(add(bias_ih, bias_hh))

    return convert


def _reinterpreted(w):
    return w.reshape(w.shape[1], w.shape[0])


def _swapped_after_the_transpose(weight_ih, weight_hh, bias_ih, bias_hh):
    """The last two of four groups that are made of every fourth row."""

    def reordered(w):
        return w.unflatten(0, (-1, 4))[:, [0, 1, 3, 2]].flatten(0, 1)

    return reordered(weight_ih).t(), reordered(weight_hh).t(), reordered(bias_ih + bias_hh)


from_torch_lstm = Function(
    functions=("from_torch_lstm",),
    reference=_converted(),
    cases=[
        Case(
            "3 features, 5 units",
            weight_ih=normal(20, 3),
            weight_hh=normal(20, 5),
            bias_ih=normal(20),
            bias_hh=normal(20),
        ),
        Case(
            "8 features, 2 units", weight_ih=normal(8, 8), weight_hh=normal(8, 2), bias_ih=normal(8), bias_hh=normal(8)
        ),
    ],
    points={"Wx": 1, "Wh": 1, "b": 1},
    forbidden=AUTOGRAD,
    mistakes=[
        Mistake(
            "leaves the gates in torch's order",
            _converted(arrange=lambda i, f, g, o: (i, f, g, o)),
            hint="torch's blocks are i, f, g, o and the course's i, f, o, g, in the weights and in the bias",
        ),
        Mistake(
            "leaves the weights as torch has them, outputs first",
            _converted(transpose=lambda w: w),
            hint="in the course a row of x stands left of the weights: which shape has Wx?",
        ),
        Mistake(
            "reshapes where it should transpose",
            _converted(transpose=_reinterpreted),
            hint="a reshape keeps the entries in their order in memory: is that what turns rows into columns?",
        ),
        Mistake(
            "leaves the gates in torch's order and the weights as torch has them",
            lambda weight_ih, weight_hh, bias_ih, bias_hh: (weight_ih, weight_hh, bias_ih + bias_hh),
            hint="two things differ between the layouts: the order of the gates, and which axis is the input's",
        ),
        Mistake(
            "reshapes where it should transpose, and leaves the gates in torch's order",
            _converted(arrange=lambda i, f, g, o: (i, f, g, o), transpose=_reinterpreted),
            hint="a reshape keeps the entries in their order in memory: is that what turns rows into columns?",
        ),
        Mistake(
            "swaps the forget gate and the output gate",
            _converted(arrange=lambda i, f, g, o: (i, o, g, f)),
            hint="compare the two orders from the left: where do they first differ?",
        ),
        Mistake(
            "swaps rows in groups of four instead of blocks",
            _swapped_after_the_transpose,
            hint="each gate is a block of H rows that lie one below the other",
        ),
        Mistake(
            "drops bias_hh",
            _converted(add=lambda one, other: one),
            hint="torch adds two biases to the same pre-activation",
        ),
        Mistake(
            "averages the two biases",
            _converted(add=lambda one, other: (one + other) / 2),
            hint="torch adds two biases to the same pre-activation",
        ),
    ],
)


# How many parameters there are.

_MODULES = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}
_GATES = {"rnn": 1, "lstm": 4, "gru": 3}


def _count(kind, D, H):
    module = _MODULES[kind](D, H, device="meta")
    spare = 0 if kind == "gru" else module.bias_hh_l0.numel()
    return sum(parameter.numel() for parameter in module.parameters()) - spare


def _by_formula(formula):
    return lambda kind, D, H: formula(_GATES[kind], 2 if kind == "gru" else 1, D, H)


count_recurrent_parameters = Function(
    functions=("count_recurrent_parameters",),
    reference=_count,
    cases=[
        Case("lstm", kind="lstm", D=3, H=5),
        Case("gru", kind="gru", D=4, H=7),
        Case("rnn", kind="rnn", D=6, H=2),
    ],
    points={"count": 2},
    forbidden=AUTOGRAD,
    mistakes=[
        Mistake(
            "leaves the biases out",
            _by_formula(lambda gates, biases, D, H: gates * H * (D + H)),
            hint="the biases are parameters as well",
        ),
        Mistake(
            "counts two biases for every kind, as torch does",
            _by_formula(lambda gates, biases, D, H: gates * H * (D + H + 2)),
            hint="in this notebook's layout only one of the three kinds has two biases",
        ),
        Mistake(
            "counts one bias for every kind",
            _by_formula(lambda gates, biases, D, H: gates * H * (D + H + 1)),
            hint="one of the three kinds has two biases: which of its gates needs them apart?",
        ),
        Mistake(
            "forgets that the hidden state has weights too",
            _by_formula(lambda gates, biases, D, H: gates * H * (D + biases)),
            hint="every gate sees the input and the previous hidden state",
        ),
        Mistake(
            "counts a single gate",
            _by_formula(lambda gates, biases, D, H: H * (D + H + biases)),
            hint="how many blocks of H columns has Wx?",
        ),
        Mistake(
            "forgets that the input has weights too",
            _by_formula(lambda gates, biases, D, H: gates * H * (H + biases)),
            hint="every gate sees the input and the previous hidden state",
        ),
        Mistake(
            "counts biases as single numbers",
            _by_formula(lambda gates, biases, D, H: gates * (H * (D + H) + biases)),
            hint="a bias has an entry for every column",
        ),
    ],
)
