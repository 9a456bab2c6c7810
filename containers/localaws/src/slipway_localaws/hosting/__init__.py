"""Hosting: the content of images, run as processes of this machine behind SageMaker's endpoints."""
