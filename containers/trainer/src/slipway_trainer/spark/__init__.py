"""Spark: the session, reading S3 without extra jars, and unfitting pipelines."""
