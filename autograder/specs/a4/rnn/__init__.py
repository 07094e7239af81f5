"""Hidden cases, mutants and other solutions of the notebook on recurrent networks."""

from .cells import rnn_sequence as rnn_sequence
from .cells import rnn_step as rnn_step
from .losses import clip_grad_norm as clip_grad_norm
from .losses import temporal_softmax_loss as temporal_softmax_loss
from .sampling import sample as sample
from .sampling import sampling_probabilities as sampling_probabilities
from .texts import language_model_loss as language_model_loss
from .texts import truncated_bptt_chunks as truncated_bptt_chunks
from .words import temporal_affine as temporal_affine
from .words import word_embedding as word_embedding
