"""When to stop, and how several nets answer together."""

from __future__ import annotations

from torch.nn import functional

from dlcvkit.checking import Case, Function, Mistake, given, normal


def _follow(EarlyStopping, patience, min_delta, values):
    stopper, other = EarlyStopping(patience, min_delta), EarlyStopping(patience=patience, min_delta=min_delta)
    told = []
    for value in values:
        told.append([stopper.should_stop(value), stopper.best, stopper.best_epoch])
        other.should_stop(1e6 - value)  # a second object must not disturb the first
    decisions, bests, epochs = zip(*told, strict=True)
    return list(decisions), list(bests), list(epochs)


def follow(
    patience,
    min_delta,
    values,
    *,
    needs=0,
    is_better=None,
    total=False,
    never=False,
    late=False,
    drifts=False,
    count_from=0,
    keeps_last=False,
):
    """Return decisions, bests and their epochs; each keyword switches a mistake on."""
    best, best_epoch, waited, told = float("-inf"), None, 0, []
    previous = float("-inf")
    for epoch, value in enumerate(values, count_from):
        compared = previous if keeps_last else best
        better = value > compared + min_delta if is_better is None else is_better(value, compared, min_delta)
        if better:
            best, best_epoch, waited = value, epoch, waited if total else 0
        else:
            waited += 1
            if drifts and value > best:
                best, best_epoch = value, epoch
        previous = value
        told.append([waited > patience if late else waited >= patience + needs and not never, best, best_epoch])
    decisions, bests, epochs = zip(*told, strict=True)
    return list(decisions), list(bests), list(epochs)


def following(**mistakes):
    """Return a variant of early stopping with mistakes switched on."""
    return lambda patience, min_delta, values: follow(patience, min_delta, values, **mistakes)


early_stopping = Function(
    functions=("EarlyStopping",),
    reference=follow,
    call=_follow,
    cases=[
        Case("patience 2", patience=2, min_delta=0.0, values=[0.3, 0.4, 0.35, 0.45, 0.45, 0.41, 0.4, 0.5]),
        Case(
            "patience 3, min_delta 0.02",
            patience=3,
            min_delta=0.02,
            values=[0.3, 0.31, 0.33, 0.34, 0.345, 0.32, 0.36, 0.2, 0.5],
        ),
    ],
    points={"stops": 2, "best": 1, "best_epoch": 1},
    mistakes=[
        Mistake("stops one epoch late", following(late=True), hint="patience epochs without improvement are enough"),
        Mistake("stops one epoch early", following(needs=-1), hint="how many epochs may pass without improvement?"),
        Mistake(
            "does not start counting anew after an improvement",
            following(total=True),
            hint="patience is about epochs in a row",
        ),
        Mistake("never stops", following(never=True), hint="look at what the counter is compared with"),
        Mistake(
            "takes lower values for better",
            following(
                is_better=lambda value, best, delta: (
                    value < -best - delta if best == float("-inf") else value < best - delta
                )
            ),
            hint="what is watched is an accuracy",
        ),
        Mistake(
            "ignores min_delta",
            following(is_better=lambda value, best, delta: value > best),
            hint="an improvement exceeds the best by more than min_delta",
        ),
        Mistake(
            "takes an equal value for an improvement",
            following(is_better=lambda value, best, delta: value >= best + delta),
            hint="look at > and >=",
        ),
        Mistake(
            "compares with the epoch before instead of the best",
            following(keeps_last=True),
            hint="an improvement is one over the best so far",
        ),
        Mistake(
            "lets best creep up by less than min_delta",
            following(drifts=True),
            hint="best changes when there is an improvement, and only then",
        ),
        Mistake("counts epochs from 1", following(count_from=1), hint="the first epoch has the number 0"),
    ],
)


def average(
    scores, *, logits=False, votes=False, geometric=False, summed=False, best=False, dim=2, models=0, worst=False
):
    """Return probabilities and labels; each keyword switches a mistake on."""
    each = functional.softmax(scores, dim=dim)
    if logits:
        p = functional.softmax(scores.mean(0), dim=1)
    elif votes:
        p = functional.one_hot(each.argmax(2), scores.shape[2]).to(scores.dtype).mean(0)
    elif geometric:
        p = functional.log_softmax(scores, dim=2).mean(0).exp()
    elif best:
        p = each.amax(0)
    else:
        p = each.sum(models) if summed else each.mean(models)
    return p, p.argmin(1) if worst else p.argmax(1)


def averaging(**mistakes):
    """Return a variant of the ensemble with mistakes switched on."""
    return lambda scores: average(scores, **mistakes)


ensemble_predict = Function(
    functions=("ensemble_predict",),
    reference=average,
    cases=[
        Case("3 models, 4 images, 5 classes", scores=normal(3, 4, 5, std=3.0)),
        Case(
            "one is sure, two lean the other way",
            scores=given([[[8.0, 0.0, 0.0]], [[0.0, 0.2, 0.0]], [[0.0, 0.3, 0.0]]]),
        ),
        Case("one is far more than sure", scores=given([[[0.0, 900.0]], [[1.0, 0.0]], [[1.5, 0.0]]])),
    ],
    points={"probabilities": 2, "labels": 1},
    mistakes=[
        Mistake("averages the scores", averaging(logits=True), hint="what is averaged is what each model believes"),
        Mistake(
            "lets the models vote",
            averaging(votes=True),
            hint="a model that is sure counts for more than one that guesses",
        ),
        Mistake(
            "averages the logarithms of probabilities",
            averaging(geometric=True),
            hint="take the mean of the probabilities themselves; its rows add up to 1",
        ),
        Mistake(
            "takes the sum over the models", averaging(summed=True), hint="every row of a distribution adds up to 1"
        ),
        Mistake(
            "takes the highest probability over the models", averaging(best=True), hint="every model has the same say"
        ),
        Mistake("takes the softmax over the images", averaging(dim=1), hint="scores have shape (models, N, K)"),
        Mistake("takes the softmax over the models", averaging(dim=0), hint="scores have shape (models, N, K)"),
        Mistake("averages over the images", averaging(models=1), hint="scores have shape (models, N, K)"),
        Mistake("returns the least likely class", averaging(worst=True), hint="the answer is the most likely class"),
    ],
)
