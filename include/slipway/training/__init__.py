"""Retraining: which data, whether the result is better, and what is registered."""
