"""Recurrent networks: cell and sequence, the layers of a language model, its loss, its text and its samples."""

from dlcvkit.exercises.a4.rnn.cells import rnn_sequence, rnn_step
from dlcvkit.exercises.a4.rnn.clipping import clip_grad_norm
from dlcvkit.exercises.a4.rnn.losses import temporal_softmax_loss
from dlcvkit.exercises.a4.rnn.models import language_model_loss
from dlcvkit.exercises.a4.rnn.sampling import sample, sampling_probabilities
from dlcvkit.exercises.a4.rnn.texts import truncated_bptt_chunks
from dlcvkit.exercises.a4.rnn.words import temporal_affine, word_embedding

__all__ = [
    "rnn_step",
    "rnn_sequence",
    "word_embedding",
    "temporal_affine",
    "temporal_softmax_loss",
    "clip_grad_norm",
    "truncated_bptt_chunks",
    "language_model_loss",
    "sampling_probabilities",
    "sample",
]
