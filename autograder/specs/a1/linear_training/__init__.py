"""Hidden cases, mutants and other solutions for solutions/a1/linear_training.py."""

from .answers import linear_answer as linear_answer
from .batches import sample_batch as sample_batch
from .penalties import elastic_net_penalty as elastic_net_penalty
from .searching import hyperparameter_search as hyperparameter_search
from .training import predict_linear as predict_linear
from .training import train_linear_classifier as train_linear_classifier
