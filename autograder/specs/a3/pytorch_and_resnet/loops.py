"""One training step, and evaluation."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Hidden, given, normal
from dlcvkit.exercises.a3.pytorch_and_resnet.loops import accuracy_case, step_case


def _step(fault=""):
    def train_step(net, x, y, optimiser, keep_statistics=False):
        if fault == "leaves the mode alone":
            pass
        elif fault == "switch turned round":
            net.train(keep_statistics)
        elif fault == "batch norms stay in training mode":
            net.train()
        elif fault == "keeps the mode if told":
            if not keep_statistics:
                net.train()
        elif fault == "batch norms in training, net in evaluation":
            net.eval()
            if not keep_statistics:
                net.training = True
        else:
            net.train(not keep_statistics)
        optimiser.zero_grad()
        scores = net(x)
        if fault == "forward twice":
            scores = net(x)
        if fault == "squared error":
            loss = (scores.softmax(1) - functional.one_hot(y, scores.shape[1])).square().mean()
        elif fault == "label smoothing":
            loss = functional.cross_entropy(scores, y, label_smoothing=0.1)
        else:
            loss = functional.cross_entropy(scores, y)
        if fault == "backward twice":
            loss.backward(retain_graph=True)
        loss.backward()
        if fault == "clips":
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1e-2)
        optimiser.step()
        if fault == "steps twice":
            optimiser.step()
        if fault == "an optimiser of its own":
            torch.optim.SGD(net.parameters(), lr=0.1).step()
        if fault == "returns a tensor":
            return loss
        if fault == "returns accuracy":
            return (scores.argmax(1) == y).double().mean().item()
        if fault == "returns the sum":
            return loss.item() * len(x)
        return None if fault == "returns nothing" else loss.item()

    return train_step


def _step_by_hand(net, x, y, optimiser, keep_statistics=False):
    """The gradients written by hand into .grad."""
    (net.eval if keep_statistics else net.train)()
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    log_p = net(x).log_softmax(1)
    loss = -log_p.gather(1, y[:, None]).mean()
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = gradient
    optimiser.step()
    return float(loss.detach())


def _step_clearing_last(net, x, y, optimiser, keep_statistics=False):
    """Everything that is left over is cleared through the net, before and after."""
    for module in net.modules():
        module.training = not keep_statistics
    net.zero_grad(set_to_none=False)
    with torch.enable_grad():
        loss = torch.nn.CrossEntropyLoss()(net(x), y)
    loss.backward()
    optimiser.step()
    optimiser.zero_grad()
    return loss.tolist()


_HEAD = ("fc.weight", "fc.bias")

train_step = Hidden(
    cases=[
        step_case("one image", 1, 3, (4, 5), 4, 3),
        step_case("one class", 3, 2, (4, 3), 3, 1),
        step_case("one channel", 4, 1, (5, 3), 4, 5),
        step_case("momentum", 5, 2, (3, 4), 4, 3, momentum=0.9),
        step_case("keep_statistics, no momentum", 5, 2, (3, 4), 4, 3, keep_statistics=True),
        step_case("the optimiser has the last layer alone", 4, 3, (3, 4), 5, 4, trained=_HEAD),
        step_case("the last layer alone, keep_statistics", 4, 3, (3, 4), 5, 4, trained=_HEAD, keep_statistics=True),
        step_case("float32", 6, 2, (4, 5), 4, 3, momentum=0.5).float32(),
        step_case("non-contiguous", 4, 3, (5, 4), 3, 4).strided(),
        step_case("a small rate", 4, 2, (4, 3), 4, 3, lr=1e-3),
    ],
    mutants={
        fault: _step(fault)
        for fault in (
            "leaves the mode alone",
            "switch turned round",
            "batch norms stay in training mode",
            "keeps the mode if told",
            "batch norms in training, net in evaluation",
            "forward twice",
            "squared error",
            "label smoothing",
            "backward twice",
            "clips",
            "steps twice",
            "an optimiser of its own",
            "returns a tensor",
            "returns accuracy",
            "returns the sum",
            "returns nothing",
        )
    },
    solutions={"gradients by hand": _step_by_hand, "cleared before and after": _step_clearing_last},
)


def _measure(fault=""):
    def evaluate_accuracy(net, x, y, batch_size=500):
        was_training = net.training
        if fault == "sets the attribute alone":
            net.training = False
        else:
            net.eval()
        right = 0
        size = {"one by one more": batch_size + 1, "twice the size": 2 * batch_size}.get(fault, batch_size)
        places = 2 if fault == "among the best two" else 1
        with torch.set_grad_enabled(fault == "graph"):
            for images, labels in zip(x.split(size), y.split(size), strict=True):
                scores = net(images)
                if fault == "argmin":
                    scores = -scores
                if fault == "last of equal scores":
                    scores, labels = scores.flip(1), scores.shape[1] - 1 - labels
                best = scores.topk(min(places, scores.shape[1]), 1).indices if places > 1 else scores.argmax(1)[:, None]
                right += (best == labels[:, None]).any(1).sum().item()
                if fault == "mode put back in the loop":
                    net.train(was_training)
        if fault == "sets the attribute back alone":
            net.training = was_training
        elif fault != "sets the attribute alone":
            net.train(not was_training if fault == "the other mode" else was_training)
        if fault == "returns nothing":
            return None
        if fault == "integer division":
            return float(right // len(x))
        return right / (len(x.split(size)) * size) if fault == "divides by whole parts" else right / len(x)

    return evaluate_accuracy


@torch.no_grad()
def _measure_by_index(net, x, y, batch_size=500):
    mode = net.training
    net.train(False)
    hits = []
    for start in range(0, len(x), batch_size):
        hits += (net(x[start : start + batch_size]).max(1)[1] == y[start : start + batch_size]).tolist()
    net.train(mode)
    return sum(hits) / len(hits)


def _measure_in_inference(net, x, y, batch_size=500):
    was_training = net.training
    try:
        with torch.inference_mode():
            scores = torch.cat([net.eval()(part) for part in torch.split(x, batch_size)])
            return (scores.argmax(dim=-1) == y).double().mean().item()
    finally:
        net.train(mode=was_training)


def _scores(*rows):
    return given([[[[value]] for value in row] for row in rows])


_ZIP = "zip(x.split(batch_size), y.split(batch_size)"

evaluate_accuracy = Hidden(
    cases=[
        accuracy_case("one image", 1, 3, 5, True),
        accuracy_case("one by one", 5, 3, 1, True),
        accuracy_case("one part", 6, 4, 6, False),
        accuracy_case("parts of equal size", 6, 4, 3, True),
        accuracy_case("a last part of one image", 7, 4, 2, False),
        accuracy_case("batch_size beyond N", 4, 3, 100, True),
        accuracy_case("one class", 3, 1, 2, True),
        accuracy_case(
            "equal scores",
            3,
            3,
            2,
            True,
            scores=_scores([1.0, 1.0, 0.0], [2.0, 0.0, 2.0], [0.0, 0.0, 0.0]),
            y=given([0, 0, 1], dtype=torch.int64),
        ),
        accuracy_case("nothing right", 4, 3, 3, False, scores=normal(4, 3, 1, 1), y=given([7] * 4, dtype=torch.int64)),
        accuracy_case("non-contiguous", 7, 5, 4, True).strided(),
        accuracy_case("float32", 9, 4, 4, True).float32(),
    ],
    mutants={
        fault: _measure(fault)
        for fault in (
            "sets the attribute alone",
            "sets the attribute back alone",
            "one by one more",
            "twice the size",
            "among the best two",
            "graph",
            "argmin",
            "last of equal scores",
            "mode put back in the loop",
            "the other mode",
            "returns nothing",
            "integer division",
            "divides by whole parts",
        )
    },
    solutions={"by index, decorated": _measure_by_index, "inference mode, all scores": _measure_in_inference},
    equivalent={
        f"evaluate_accuracy: {_ZIP}, strict=True) -> {_ZIP}{rest})": "there are as many labels as images"
        for rest in ("", ", strict=False")
    },
)
