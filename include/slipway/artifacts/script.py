"""What the sandbox is asked to run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Script:
    """A script with what it gets.

    Attributes:
        source: Python that defines ``main(inputs)``; what that returns has to be a JSON object.
        inputs: a JSON object.
        modules: Python source by module name, which the script can import.
    """

    source: str
    inputs: Mapping[str, Any]
    modules: Mapping[str, str] = field(default_factory=dict)

    def request(self, result: Path) -> dict[str, Any]:
        """Return what ``confined.run`` reads: the script as JSON, and the file for its result."""
        inputs, modules = dict(self.inputs), dict(self.modules)
        return {"script": self.source, "inputs": inputs, "modules": modules, "result": str(result)}
