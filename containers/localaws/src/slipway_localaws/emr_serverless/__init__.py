"""EMR Serverless: job runs that this machine's Spark really runs."""
