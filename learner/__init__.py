"""Trains on each sample once and commits versions; must not know who serves them."""
