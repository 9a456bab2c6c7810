"""Golden rows: requests with the answers of the original model, by which a release is verified.

The rows are the model's saved input example and further rows derived from it within the signature; the answers are
``mlflow.pyfunc``'s on the model's original, unpatched files, for the JSON form and for CSV as MLflow's scoring server
would read them. They are made in the sandbox; see ``confined.golden_rows`` for how.

The document (``golden.json``)::

    {"format": 1,
     "columns": ["a", "b"],                    empty for a model that takes tensors
     "rows": [[1.5, "x"], ...],
     "answers": [0, ...],                      the response's "predictions"; null also stands for NaN and infinities
     "json": {"dataframe_split": {...}},       the request that the answers belong to; {"inputs": ...} for tensors
     "csv": "a,b\\n1.5,x\\n",                    null where the model cannot be asked in CSV
     "csv_answers": [0, ...],                  the answers to exactly those CSV lines
     "csv_problem": "",                        why lines are missing from "csv", or all of it
     "from_example": 3}                        how many of the rows are the saved example's
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.artifacts import confined
from slipway.artifacts.script import Script
from slipway.errors import ModelNotDeployableError, PermanentError, SandboxError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slipway.artifacts.sandbox import Sandbox

STORED_FILE = "golden.json"  # among a model's own files
_CONFINED = Path(confined.__file__).parent
_FORMAT = 1


@dataclass(frozen=True)
class GoldenRows:
    """The golden document; its fields are described at the top of this module."""

    columns: list[str]
    rows: list[Any]
    answers: Any
    json: dict[str, Any]
    csv: str | None
    csv_answers: Any
    csv_problem: str = ""
    from_example: int = 0
    format: int = _FORMAT

    @property
    def payloads(self) -> dict[str, bytes]:
        """Request bodies by content type."""
        bodies = {"application/json": json.dumps(self.json).encode()}
        return bodies if self.csv is None else bodies | {"text/csv": self.csv.encode()}

    def expected(self, content_type: str) -> Any:
        """The answers that belong to the payload of a content type."""
        return self.csv_answers if content_type == "text/csv" else self.answers

    def to_json(self) -> bytes:
        """The document, the same bytes for the same rows."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False, allow_nan=False, indent=1).encode()

    @classmethod
    def from_json(cls, text: str | bytes) -> GoldenRows:
        """Read a document.

        Raises:
            PermanentError: it is not one, or of a newer format.
        """
        try:
            document = json.loads(text)
            if document["format"] != _FORMAT:
                raise PermanentError(f"golden.json has format {document['format']!r}; this Slipway reads {_FORMAT}.")
            known = {field.name for field in fields(cls)}
            return cls(**{key: value for key, value in document.items() if key in known})
        except (ValueError, TypeError, KeyError) as error:
            raise PermanentError(f"golden.json is not a golden document: {error!r}") from error


def make_golden_rows(sandbox: Sandbox, model_dir: Path, max_rows: int, *, seed: int = 0) -> GoldenRows:
    """Ask the original model for the answers that its release has to reproduce.

    Args:
        sandbox: environment of the release's lock, with its limits.
        model_dir: the model's original files.
        max_rows: how many rows at most; rows on which the model itself raises are left out.
        seed: of the derived rows.

    Returns:
        The golden rows, at least one.

    Raises:
        SandboxError: the model does not load, answers no row, or answers differently from call to call.
    """
    with tempfile.TemporaryDirectory(prefix="slipway-golden-") as workdir:
        golden, _ = make_golden_rows_and(sandbox, model_dir, max_rows, Path(workdir), [], seed=seed)
    return golden


def make_golden_rows_and(
    sandbox: Sandbox, model_dir: Path, max_rows: int, workdir: Path, further: Sequence[Script], *, seed: int = 0
) -> tuple[GoldenRows, list[dict[str, Any]]]:
    """Make golden rows, then run further scripts in the same process, where the model's libraries are loaded by then.

    Args:
        sandbox: as for ``make_golden_rows``; its limits hold for all together.
        model_dir: the model's original files, which all may read.
        max_rows: as for ``make_golden_rows``.
        workdir: folder that all may write to.
        further: the scripts.
        seed: as for ``make_golden_rows``.

    Returns:
        The golden rows, and the results of the further scripts before the first that failed: they cost no golden row.

    Raises:
        SandboxError: as for ``make_golden_rows``.
    """
    source = (_CONFINED / "golden_rows.py").read_text(encoding="utf-8")
    modules = {f"{confined.__name__}.derivation": (_CONFINED / "derivation.py").read_text(encoding="utf-8")}
    inputs = {"model_dir": str(model_dir.resolve()), "max_rows": max_rows, "seed": seed}
    scripts = [Script(source, inputs, modules), *further]
    try:
        document, *results = sandbox.run_each(scripts, workdir, readable=[model_dir])
    except SandboxError as error:
        raise SandboxError(f"No golden rows can be made from the model in {model_dir.name}/. {error}") from error
    return GoldenRows.from_json(json.dumps(document)), results


def stored_golden_rows(model_dir: Path) -> GoldenRows:
    """Read the answers that whoever trained the model wrote beside it.

    For originals that cannot run in the sandbox: Spark needs a JVM, which it reaches by a socket.

    Args:
        model_dir: the model's original files, ``golden.json`` among them.

    Raises:
        ModelNotDeployableError: there are none, or not an answer for each row.
        PermanentError: the file is not a golden document.
    """
    path = model_dir / STORED_FILE
    if not path.is_file():
        raise ModelNotDeployableError(
            "A Spark model cannot run in the sandbox, so its answers have to come with it, and there is no "
            f"{STORED_FILE} among the model's files. Slipway's own retraining writes it; other training code puts "
            "requests and the fitted model's answers there before it logs the model (docs/serving.md, 'Spark ML "
            "without a JVM')."
        )
    golden = GoldenRows.from_json(path.read_bytes())
    answers = len(golden.answers) if isinstance(golden.answers, list) else "no list of"
    if not golden.rows or answers != len(golden.rows):
        raise ModelNotDeployableError(
            f"{STORED_FILE} has {len(golden.rows)} rows and {answers} answers: expected one answer for each row."
        )
    return golden
