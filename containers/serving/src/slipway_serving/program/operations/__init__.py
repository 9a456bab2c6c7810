"""The operations that programs are made of.

Each function takes a step's description and returns a function from the step's input to its output: matrices of 64-bit
floats (rows × columns), or lists of texts. A row that the operation cannot treat as the original library would raises
``NotCoveredError``.
"""

from slipway_serving.program.operations import arithmetic, categories, checks, decisions, filters

__all__ = ["arithmetic", "categories", "checks", "decisions", "filters"]
