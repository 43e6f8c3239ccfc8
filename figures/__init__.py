"""Figures: read saved results, draw. No JAX here."""
