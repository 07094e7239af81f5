"""Generative models: noise, losses of two nets that compete, the nets, their game, and the variational autoencoder."""

from dlcvkit.exercises.a4.gans import builders, convolutions, game, losses, noise, vae

# By assignment, because reports list the exercises in the order of definition and imports are sorted by name.
sample_noise = noise.sample_noise
bce_with_logits = losses.bce_with_logits
discriminator_loss = losses.discriminator_loss
generator_loss = losses.generator_loss
alternating_gradient = game.alternating_gradient
discriminator = builders.discriminator
generator = builders.generator
ls_discriminator_loss = losses.ls_discriminator_loss
ls_generator_loss = losses.ls_generator_loss
dc_discriminator = convolutions.dc_discriminator
dc_generator = convolutions.dc_generator
reparametrize = noise.reparametrize
kl_divergence = vae.kl_divergence
vae_loss = vae.vae_loss

__all__ = [
    "sample_noise",
    "bce_with_logits",
    "discriminator_loss",
    "generator_loss",
    "alternating_gradient",
    "discriminator",
    "generator",
    "ls_discriminator_loss",
    "ls_generator_loss",
    "dc_discriminator",
    "dc_generator",
    "kl_divergence",
    "reparametrize",
    "vae_loss",
]
