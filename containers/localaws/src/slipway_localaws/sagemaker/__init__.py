"""SageMaker's control plane for models, endpoint configs and endpoints, in the place of moto's."""
