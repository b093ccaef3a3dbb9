"""A line through two known points."""

import jax.numpy as jnp


def to_fahrenheit(celsius):
    slope = (212.0 - 32.0) / 100.0
    return jnp.add(32.0, jnp.multiply(slope, celsius))
