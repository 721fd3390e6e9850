"""Says a thing to a person once, and counts faults in ourselves: the border behind which nothing is raised."""

from __future__ import annotations

from collections.abc import Callable

from shipper.sdk.writer.losses import Losses


class Once:
    """What was said already. ``losses`` counts the faults."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.losses = Losses()
        self._say = say
        self._said: set[str] = set()

    def say(self, key: str, text: str) -> None:
        """Tell a person, the first time that ``key`` comes up."""
        if key in self._said:
            return
        self._said.add(key)
        try:
            self._say(text)
        except Exception:
            self.losses.add("fault_say")

    def fault(self, where: str, error: BaseException) -> None:
        """Something went wrong in us: counted and said once, never raised."""
        self.losses.add(f"fault_{where}")
        self.say(where, f"a fault in the hand-off ({where}): {type(error).__name__}: {error}")
