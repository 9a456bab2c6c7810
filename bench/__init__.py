"""Benchmarks: Slipway beside other tools, each run for real; not part of the wheel."""
