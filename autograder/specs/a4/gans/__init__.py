"""Hidden cases, mutants and other solutions for solutions/a4/gans.py."""

from .builders import dc_discriminator, dc_generator, discriminator, generator
from .game import alternating_gradient
from .losses import bce_with_logits, discriminator_loss, generator_loss, ls_discriminator_loss, ls_generator_loss
from .noise import reparametrize, sample_noise
from .vae import kl_divergence, vae_loss

__all__ = [
    "alternating_gradient",
    "bce_with_logits",
    "dc_discriminator",
    "dc_generator",
    "discriminator",
    "discriminator_loss",
    "generator",
    "generator_loss",
    "kl_divergence",
    "ls_discriminator_loss",
    "ls_generator_loss",
    "reparametrize",
    "sample_noise",
    "vae_loss",
]
