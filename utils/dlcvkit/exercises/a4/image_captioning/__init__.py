"""Image captioning: words as numbers, attention, a net that reads pictures and writes, and the search for captions."""

from dlcvkit.exercises.a4.image_captioning.asking import captioner
from dlcvkit.exercises.a4.image_captioning.attending import dot_product_attention
from dlcvkit.exercises.a4.image_captioning.model import captioning_rnn
from dlcvkit.exercises.a4.image_captioning.recurrence import attention_lstm
from dlcvkit.exercises.a4.image_captioning.searching import beam_search
from dlcvkit.exercises.a4.image_captioning.words import build_vocabulary, decode_captions, encode_captions

__all__ = [
    "build_vocabulary",
    "encode_captions",
    "decode_captions",
    "dot_product_attention",
    "attention_lstm",
    "captioning_rnn",
    "captioner",
    "beam_search",
]
