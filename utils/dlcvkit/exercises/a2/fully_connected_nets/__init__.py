"""Fully-connected nets: dropout, any depth, other regularisers, stopping and ensembles."""

from dlcvkit.exercises.a2.fully_connected_nets.dropping import dropout
from dlcvkit.exercises.a2.fully_connected_nets.nets import build_params, fully_connected_net
from dlcvkit.exercises.a2.fully_connected_nets.norms import max_norm_
from dlcvkit.exercises.a2.fully_connected_nets.pictures import cutout, mixup
from dlcvkit.exercises.a2.fully_connected_nets.voting import early_stopping, ensemble_predict

__all__ = [
    "dropout",
    "build_params",
    "fully_connected_net",
    "max_norm_",
    "cutout",
    "mixup",
    "early_stopping",
    "ensemble_predict",
]
