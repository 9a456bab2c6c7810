"""Keeps moto's state over restarts: the services' objects in one file each, S3 bodies as files of their own."""
