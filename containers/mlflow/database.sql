-- PostgreSQL runs this at its first start: Airflow's database is there, MLflow gets one of its own.
CREATE DATABASE mlflow;
