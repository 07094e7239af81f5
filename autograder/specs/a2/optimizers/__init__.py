"""Hidden cases, mutants and other solutions of the notebook on optimizers."""

from .adaptive import adagrad as adagrad
from .adaptive import adam as adam
from .adaptive import adamw as adamw
from .adaptive import rmsprop as rmsprop
from .directions import clip_grad_norm as clip_grad_norm
from .directions import lbfgs_direction as lbfgs_direction
from .first_order import nesterov as nesterov
from .first_order import sgd as sgd
from .first_order import sgd_momentum as sgd_momentum
from .schedules import lr_at as lr_at
