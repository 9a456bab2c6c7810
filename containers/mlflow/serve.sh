#!/bin/sh
# Starts MLflow on port 5000. POSTGRES_HOST, POSTGRES_PASSWORD_FILE, ARTIFACT_ROOT and ALLOWED_HOSTS come from outside.
set -eu
password=$(cat "$POSTGRES_PASSWORD_FILE")
MLFLOW_BACKEND_STORE_URI="postgresql+psycopg2://slipway:$password@$POSTGRES_HOST/mlflow"
export MLFLOW_BACKEND_STORE_URI
exec mlflow server --host 0.0.0.0 --port 5000 --workers 1 --allowed-hosts "$ALLOWED_HOSTS" \
    --default-artifact-root "$ARTIFACT_ROOT" --no-serve-artifacts
