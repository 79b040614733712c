"""Threads that take turns, so that their total memory is bounded."""

import contextlib
import threading
from collections.abc import Iterator


class Turns:
    """Lets threads work at the same time while the sizes of their work add up to at most `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Waits until work of this size fits, and reserves it in the block; work larger than `most` runs alone."""
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
