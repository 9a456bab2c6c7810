"""What a hook is told, and what its answer means: the same for functions and for HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from slipway.errors import HookFailedError

#: Of a hook's own words so many characters are kept.
MAX_REASON_CHARACTERS = 500


@dataclass(frozen=True)
class HookQuestion:
    """What a hook is told.

    Args:
        hook: Its name.
        service: The service.
        model: The registered model.
        endpoint: The production endpoint.
        run_id: The run of ``<service>.promote``.
        place: ``step 2``: before that step; ``after``: after all steps, before the release becomes the champion.
        strategy: ``canary``, ``all_at_once`` or ``first_launch``.
        release_id: The release that is being promoted.
        model_version: Its version in the registry.
        champion: The release that had all traffic before; None at a first launch.
        weight_pct: The release's share of the traffic now.
        next_weight_pct: Its share when the answer is yes.
        steps: What was judged so far: ``number``, ``weight_pct``, ``verdict``, ``looks``, ``said``.
    """

    hook: str
    service: str
    model: str
    endpoint: str
    run_id: str
    place: str
    strategy: str
    release_id: str
    model_version: int
    champion: str | None
    weight_pct: float
    next_weight_pct: float
    steps: tuple[Mapping[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the question as JSON has it."""
        return {**asdict(self), "steps": [dict(step) for step in self.steps]}


@dataclass(frozen=True)
class HookAnswer:
    """Yes or no, and why."""

    allow: bool
    reason: str = ""


def read_answer(hook: str, found: Any) -> HookAnswer:
    """Understand what a hook answered.

    Args:
        hook: The hook's name, for the message.
        found: None or a boolean, or ``{"allow": true, "reason": "…"}``.

    Returns:
        The answer; nothing at all is a yes.

    Raises:
        HookFailedError: It is none of these. What nobody understands is never a yes.
    """
    if found is None or isinstance(found, bool):
        return HookAnswer(found is not False)
    if isinstance(found, Mapping):
        allow, reason = found.get("allow"), found.get("reason")
        if isinstance(allow, bool) and isinstance(reason, str | None) and set(found) <= {"allow", "reason"}:
            return HookAnswer(allow, (reason or "")[:MAX_REASON_CHARACTERS])
    raise HookFailedError(
        f'Hook {hook} answered {str(found)[:200]!r}; expected nothing, a boolean, or {{"allow": true or false, '
        '"reason": "why"}}.'
    )
