"""SageMaker endpoints: what is wanted, what is there, how to get there, and whether it answers right."""
