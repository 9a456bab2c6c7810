"""What runs on the far side of the sandbox's wall: standard library only, no import of the rest of Slipway.

``start`` puts the wall up (limits, namespaces, Landlock, seccomp) and becomes the model environment's Python;
``run`` is what that Python runs.
"""
