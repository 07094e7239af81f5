"""Hidden cases, mutants and other solutions of the notebook on the Transformer."""

from .attention import attention_naive as attention_naive
from .attention import attention_weights as attention_weights
from .attention import scaled_dot_product_attention as scaled_dot_product_attention
from .blocks import decoder_block as decoder_block
from .blocks import encoder_block as encoder_block
from .decoding import greedy_decode as greedy_decode
from .decoding import invariants as invariants
from .heads import feed_forward as feed_forward
from .heads import multi_head_attention as multi_head_attention
from .tables import causal_mask as causal_mask
from .tables import layer_norm as layer_norm
from .tables import learned_positions as learned_positions
from .tables import positional_encoding as positional_encoding
from .whole import transformer as transformer
