"""What sets of points and densities look like: pure functions of samples and laws, blind to where they came from."""
