"""The generation loop for anything that can fit and sample."""
