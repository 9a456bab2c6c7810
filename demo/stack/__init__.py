"""Airflow, MLflow and the AWS stand-in as one supervised group of processes on loopback."""

from demo.stack.settings import StackSettings, load_settings
from demo.stack.supervisor import Stack, start_stack, stop_stack

__all__ = ["Stack", "StackSettings", "load_settings", "start_stack", "stop_stack"]
