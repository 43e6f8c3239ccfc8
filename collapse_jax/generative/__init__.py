"""Networks that are trained and sampled, generation after generation; the only room that needs flax and optax."""
