"""Captured traffic: SageMaker's data-capture files read into Arrow batches.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html
"""

from slipway.drift.capture.reader import CaptureBatch, CaptureCounts, Reason, Rejected, read_captures

__all__ = ["CaptureBatch", "CaptureCounts", "Reason", "Rejected", "read_captures"]
