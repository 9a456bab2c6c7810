"""Canary promotion: the frozen plan, the statistics of two arms of traffic, and the verdict at each look."""
