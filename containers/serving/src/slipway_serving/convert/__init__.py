"""Build time: compile a model, prove that the compiled one answers alike, and record the choice."""
