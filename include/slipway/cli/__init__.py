"""The command line: what a person or a script asks of Airflow, and the project folder's files."""
