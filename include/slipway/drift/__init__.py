"""Drift: profiles of what production received, compared with the training data, and verdicts that one can act on."""
