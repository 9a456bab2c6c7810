"""The image registry: blobs on disk, the Docker Registry HTTP API over them, ECR's control plane beside it."""
