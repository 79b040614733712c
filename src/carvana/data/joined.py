"""Two caches read as one: real photos, and pseudo-labelled ones behind them."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from carvana.data.cache import Cache

Rows = NDArray[np.integer]


@dataclass(frozen=True)
class Joined:
    """Two caches of one size as one; the second's rows follow those of the first."""

    first: Cache
    second: Cache

    @cached_property
    def names(self) -> list[str]:
        """The photo's name of every row."""
        return [*self.first.names, *self.second.names]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of both caches' photos in pixels."""
        return self.first.size

    def read_photos(self, rows: Rows) -> NDArray[np.uint8]:
        """Returns photos uint8 [n, height, width, 3] of some rows."""
        return self._read(Cache.read_photos, rows)

    def read_masks(self, rows: Rows) -> NDArray[np.uint8]:
        """Returns masks uint8 [n, height, width] of some rows, coverage 0–255."""
        return self._read(Cache.read_masks, rows)

    def digest(self) -> str:
        """Returns a digest of both caches' content, computed from their indices alone."""
        return hashlib.sha256(f"{self.first.digest()} {self.second.digest()}".encode()).hexdigest()

    def _read(self, read: Callable[[Cache, Rows], NDArray[np.uint8]], rows: Rows) -> NDArray[np.uint8]:
        count = len(self.first.names)
        from_second = rows >= count
        found = read(self.first, rows[~from_second])
        if not from_second.any():
            return found
        both = np.empty((len(rows), *found.shape[1:]), np.uint8)
        both[~from_second], both[from_second] = found, read(self.second, rows[from_second] - count)
        return both
