"""Update rules, learning-rate schedules, a quasi-Newton direction and clipping, in the order of the notebook."""

from dlcvkit.exercises.a2.optimizers import adaptive, directions, first_order, schedules

sgd = first_order.sgd
sgd_momentum = first_order.sgd_momentum
nesterov = first_order.nesterov
adagrad = adaptive.adagrad
rmsprop = adaptive.rmsprop
adam = adaptive.adam
adamw = adaptive.adamw
lr_at = schedules.lr_at
clip_grad_norm = directions.clip_grad_norm
lbfgs_direction = directions.lbfgs_direction
