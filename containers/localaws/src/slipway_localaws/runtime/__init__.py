"""The data plane: invocations, routed to containers, measured and captured."""
