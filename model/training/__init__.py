"""Training: a rendered world with exact truth, and the loops that train on it."""
