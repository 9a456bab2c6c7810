"""Distances between two distributions, one a file. All take counts, never rows, so any window is a merge."""
