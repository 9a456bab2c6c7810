"""The model server inside every release image: SageMaker's container contract, MLflow's protocol."""
