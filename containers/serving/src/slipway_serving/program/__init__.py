"""Compiled models: a list of array operations, kept as JSON and arrays, run by numpy (and ONNX Runtime for trees)."""
