"""What is recorded of mini-batches and of a training run, and what has to hold of it.

A run draws its random numbers in whatever way its author chose, so no reference run can be compared with it. What is
checked is what holds of every right run: each step follows from the one before.
"""

from __future__ import annotations

import torch
from torch.nn import functional


def _generator(like, seed):
    return torch.Generator(device=like.device).manual_seed(seed)


def _row_numbers(batch, rows):
    """Return for each row of a batch which row of ``rows`` it is, -1 for none."""
    is_equal = (batch[:, None] == rows[None]).flatten(2).all(2)
    return torch.where(is_equal.any(1), is_equal.int().argmax(1), -1)


def _batch_problem(batch, X, y, batch_size):
    """Return what is wrong with ``(X_batch, y_batch)``, or None."""
    if not isinstance(batch, list | tuple) or len(batch) != 2:
        return (
            f"a batch is {'None' if batch is None else f'a {type(batch).__name__}'}; expected the pair X_batch, y_batch"
        )
    x_batch, y_batch = batch
    for name, part, want in (("X_batch", x_batch, (batch_size, X.shape[1])), ("y_batch", y_batch, (batch_size,))):
        got = tuple(part.shape) if isinstance(part, torch.Tensor) else type(part).__name__
        if got != want:
            return f"{name} has shape {got}; expected {want}"
    if x_batch.dtype != X.dtype or y_batch.dtype != y.dtype:
        return f"a batch has the dtypes {x_batch.dtype} and {y_batch.dtype}; expected those of X and y"
    numbers = _row_numbers(x_batch, X)
    strangers = int((numbers < 0).sum())
    if strangers:
        return f"{strangers} of {batch_size} rows of a batch are not in X"
    wrong = int((y[numbers] != y_batch).sum())
    return f"{wrong} of {batch_size} rows of a batch have the label of another row" if wrong else None


def draw_batches(sample_batch, X, y, batch_size, seed):
    def draw(number, count):
        generator = _generator(X, number)
        return [sample_batch(X, y, batch_size, generator) for _ in range(count)]

    return {"first": draw(seed, 60), "again": draw(seed, 20), "other": draw(seed + 1, 20)}


def has_pairs(result, X, y, batch_size, seed):
    problems = (_batch_problem(batch, X, y, batch_size) for batch in result["first"])
    return next((problem for problem in problems if problem is not None), None)


def reaches_all_rows(result, X, y, batch_size, seed):
    numbers = _row_numbers(torch.cat([x_batch for x_batch, _ in result["first"]]), X)
    missing = sorted(set(range(len(X))) - set(numbers.tolist()))
    if missing:
        text = "{} of {} rows never come up in 60 batches, row {} for one; expected all of them"
        return text.format(len(missing), len(X), missing[0])
    return None


def obeys_generator(result, X, y, batch_size, seed):
    def order(name):
        return _row_numbers(torch.stack([x_batch for x_batch, _ in result[name][:20]]).flatten(0, 1), X)

    if len(X) == 1:
        return None
    first = order("first")
    if not torch.equal(first, order("again")):
        return "generators with equal seeds give different batches; expected the same ones"
    if torch.equal(first, order("other")):
        return "generators with different seeds give the same batches; expected other ones"
    in_turn = first.reshape(20, -1)
    if bool((in_turn == in_turn[0]).all()):
        return "every batch holds the same rows; expected new ones at every call"
    return None


def least_squares(W, X, y, reg):
    """Return a loss and its gradient that are neither softmax nor SVM: the loop must work with any loss."""
    error = X @ W - functional.one_hot(y, W.shape[1]).to(W.dtype)
    loss = error.square().sum() / len(X) + reg * W.square().sum()
    return loss.item(), 2 * X.T @ error / len(X) + 2 * reg * W


def record_training(train, X, y, lr, reg, steps, batch_size, seed):
    def run(number, count):
        calls = []

        def loss_fn(W, X_batch, y_batch, reg):
            calls.append([W.detach().clone(), X_batch.clone(), y_batch.clone(), float(reg)])
            return least_squares(W, X_batch, y_batch, reg)

        returned = train(loss_fn, X, y, lr, reg, count, batch_size, _generator(X, number))
        if isinstance(returned, list | tuple) and len(returned) == 2 and isinstance(returned[1], torch.Tensor):
            returned = returned[0], returned[1].tolist()  # as good as a list, wherever the tensor lies
        return {"returned": returned, "calls": calls}

    return {**run(seed, steps), "other": run(seed + 1, 1)["calls"]}


def starts_small(result, X, y, lr, reg, steps, batch_size, seed):
    if not result["calls"]:
        return "loss_fn was never called"
    W = result["calls"][0][0]
    shape = (X.shape[1], int(y.max()) + 1)
    if tuple(W.shape) != shape or W.dtype != X.dtype:
        return f"the first W has shape {tuple(W.shape)} and dtype {W.dtype}; expected {shape} and {X.dtype}"
    size = float(W.square().mean().sqrt())
    # Few numbers say little about the distribution that they are drawn from; the root mean square of many says much.
    low, high = (7e-4, 1.4e-3) if W.numel() >= 400 else (1e-5, 7e-3)
    if not low <= size <= high:
        return f"the first W has entries of about {size:.2g}; expected 0.001 times normal numbers"
    if result["other"] and torch.equal(W, result["other"][0][0]):
        return "the first W is the same for generators with different seeds; expected other numbers"
    return None


def trains_on_batches(result, X, y, lr, reg, steps, batch_size, seed):
    calls = result["calls"]
    if len(calls) != steps:
        return f"loss_fn was called {len(calls)} times; expected one call in each of {steps} steps"
    for _, x_batch, y_batch, used in calls:
        problem = _batch_problem((x_batch, y_batch), X, y, batch_size)
        if problem is not None:
            return problem
        if used != reg:
            return f"loss_fn was given reg = {used:g}; expected {reg:g}"
    is_same = all(torch.equal(call[1], calls[0][1]) for call in calls)
    return "every step saw the same batch; expected a new one each time" if is_same and len(X) * steps > 40 else None


def _step_problem(before, after, gradient, lr):
    step, wanted = after - before, -lr * gradient
    slack = (1e-4 if before.dtype == torch.float32 else 1e-8) * (wanted.abs().max() + 1e-2 * before.abs().max())
    if (step - wanted).abs().max() <= slack:
        return None
    if step.abs().max() <= slack:
        return "W stays as it was in a step; expected W - lr * dW"
    factor = float((step * wanted).sum() / wanted.square().sum())
    if (step - factor * wanted).abs().max() > 1e3 * slack:
        return "W changes by something other than -lr * dW in a step"
    if abs(factor + 1) < 1e-3:
        return "W moves up the gradient; expected a step down"
    if abs(factor * lr - 1) < 1e-3:
        return "W moves by the whole gradient; expected lr times it"
    return f"W moves by {factor:.3g} times what was expected, -lr * dW"


def steps_down(result, X, y, lr, reg, steps, batch_size, seed):
    returned, calls = result["returned"], result["calls"]
    if not isinstance(returned, list | tuple) or len(returned) != 2 or not isinstance(returned[0], torch.Tensor):
        got = "None" if returned is None else f"a {type(returned).__name__}"
        return f"train_linear_classifier returned {got}; expected the pair W, losses"
    if not calls:
        return "loss_fn was never called"
    after = [call[0] for call in calls[1:]] + [returned[0]]
    if after[-1].shape != calls[-1][0].shape or after[-1].dtype != X.dtype:
        return f"the returned W has shape {tuple(after[-1].shape)} and dtype {after[-1].dtype}; expected those of W"
    if torch.equal(after[-1], calls[-1][0]) and len(calls) > 1 and not torch.equal(calls[0][0], calls[-1][0]):
        return "the returned W lacks the last step"
    for (before, x_batch, y_batch, used), now in zip(calls, after, strict=True):
        problem = _step_problem(before, now, least_squares(before, x_batch, y_batch, used)[1], lr)
        if problem is not None:
            return problem
    return None


def keeps_losses(result, X, y, lr, reg, steps, batch_size, seed):
    returned = result["returned"]
    if not isinstance(returned, list | tuple) or len(returned) != 2:
        return "the pair W, losses was not returned"
    losses = torch.as_tensor(returned[1], dtype=torch.float64, device="cpu")
    if tuple(losses.shape) != (steps,):
        return f"losses has shape {tuple(losses.shape)}; expected ({steps},), one loss for each step"
    wanted = torch.tensor([least_squares(*call)[0] for call in result["calls"]], dtype=torch.float64)
    if len(wanted) == steps and bool(((losses - wanted).abs() <= 1e-4 * wanted.abs()).all()):
        return None
    return "losses are not what loss_fn returned, in the order of the steps"
