"""What spark-submit is given to run: this file alone travels, the package is in the cluster's own Python.

It stands for itself, in a Python as old as a cluster may have: when the package is missing it leaves word of that.
"""

import json
import sys


def main() -> int:
    """Run the trainer; returns the exit code."""
    try:
        from slipway_trainer.submitted import main as run
    except (ImportError, SyntaxError) as error:
        return _missing(error)
    return run(sys.argv[1:])


def _missing(error: Exception) -> int:
    version = ".".join(str(number) for number in sys.version_info[:3])
    message = (
        f"slipway_trainer cannot be imported by {sys.executable}, Python {version} ({error}); install it into the "
        "application's custom image, for a Python of 3.11 or later, or name an archive with it: archive in "
        "retrain.compute.emr_serverless"
    )
    sys.stderr.write(f"failed (permanent): {message}\n")
    out = sys.argv[sys.argv.index("--out") + 1]
    bucket, _, prefix = out[len("s3://") :].rstrip("/").partition("/")
    body = json.dumps({"kind": "permanent", "message": message})
    try:
        import boto3

        boto3.client("s3").put_object(Bucket=bucket, Key=f"{prefix}/failure.json", Body=body.encode())
    except Exception as lost:  # noqa: BLE001  # the log has it
        sys.stderr.write(f"and that cannot be left in {out}: {lost}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
