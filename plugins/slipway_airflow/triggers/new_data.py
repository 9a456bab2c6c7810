"""What the triggers for new training data have in common."""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from slipway.errors import SlipwayError, TransientError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class NewDataTrigger(BaseTrigger):
    """Looks for new data until there is enough, or until it is too late.

    It only wakes the task: what there is, the task reads itself.

    :param poke_seconds: Time between two looks.
    :param deadline: When to give up, in seconds since 1970.
    """

    def __init__(self, *, poke_seconds: float, deadline: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.poke_seconds = poke_seconds
        self.deadline = deadline

    @property
    @abstractmethod
    def arguments(self) -> tuple[str, ...]:
        """Names of the arguments beside those of this class; each is an attribute."""

    @abstractmethod
    def look(self) -> str:
        """Say why there is not enough yet; empty when there is."""

    @property
    def first_pause_seconds(self) -> float:
        """Seconds before the first look."""
        # A trigger that fires within about a second can have its task marked failed (apache/airflow#71580).
        return min(self.poke_seconds, 3)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments."""
        names = (*self.arguments, "poke_seconds", "deadline")
        return f"{type(self).__module__}.{type(self).__name__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until there is enough; what may pass is looked at again, what may not is told."""
        await asyncio.sleep(self.first_pause_seconds)
        while True:
            event = await self._event()
            if event:
                yield TriggerEvent(event)  # type: ignore[no-untyped-call]
                return
            await asyncio.sleep(self.poke_seconds)

    async def _event(self) -> dict[str, str] | None:
        try:
            reason = await asyncio.to_thread(self.look)
        except TransientError as error:
            self.log.warning("%s", error)
            reason = str(error)
        except SlipwayError as error:
            return {"status": "error", "message": str(error)}
        if not reason:
            return {"status": "ready"}
        return {"status": "late", "message": reason} if time.time() >= self.deadline else None
