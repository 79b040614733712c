"""Threads that wait for their turn, so that together they take bounded memory."""

import contextlib
import threading
from collections.abc import Iterator


class Turns:
    """Lets threads work side by side as long as the sizes of their work add up to at most `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Waits until there is room for work of this size, and keeps the room in the block; a larger one has it all."""
        size = min(size, self._most)
        with self._changed:
            self._changed.wait_for(lambda: self._held + size <= self._most)
            self._held += size
        try:
            yield
        finally:
            with self._changed:
                self._held -= size
                self._changed.notify_all()
