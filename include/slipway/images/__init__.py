"""Release images: built layer by layer without a Docker daemon and pushed over the registry HTTP API."""
