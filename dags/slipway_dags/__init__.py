"""What the DAG files share: assets, forms, retries, and the way from specs to DAGs."""
