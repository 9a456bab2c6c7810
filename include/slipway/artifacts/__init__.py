"""A model's files on their way to a release: mirrored in S3, pinned, and tried out in a sandbox.

``sync_plan`` decides what to copy and ``transfer`` copies it; ``mlmodel`` reads and patches the MLmodel file;
``requirements``, ``resolve`` and ``lock`` turn what a model asks for into pinned, hashed packages; ``sandbox`` runs the
model's own code without network or credentials; ``golden`` records the answers that an endpoint must reproduce.
"""
