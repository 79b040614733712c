"""The findings of an evaluation, summed up photo by photo: everything that its report shows."""

from collections import Counter

import cv2
import numpy as np
from numpy.typing import NDArray

from carvana.masks.rle import Runs
from carvana.results.scoring import Score, Scored
from carvana.results.wrong_pixels import CELL


class Findings:
    """The scores of all photos, their predicted and true runs by role and name, and sums over them; 20 KB a photo."""

    def __init__(self) -> None:
        self.scores: list[Score] = []
        self.runs: dict[tuple[str, str], tuple[Runs, Runs]] = {}
        self._photos: Counter[int] = Counter()
        self._places: dict[int, NDArray[np.int32]] = {}
        self._coverage: dict[int, NDArray[np.uint32]] = {}

    def add(self, scored: Scored) -> None:
        """Adds one photo."""
        score = scored.score
        self.scores.append(score)
        # Copies: either may be a view of a much larger array.
        self.runs[score.role, score.image] = (scored.runs.copy(), scored.true.copy())
        self._photos[score.view] += 1
        places, coverage = scored.mistakes.places, scored.coverage
        self._places.setdefault(score.view, np.zeros_like(places))
        self._places[score.view] += places
        self._coverage.setdefault(score.view, np.zeros(coverage.shape, np.uint32))
        self._coverage[score.view] += coverage

    def of(self, role: str) -> list[Score]:
        """Returns the scores of one role."""
        return [score for score in self.scores if score.role == role]

    @property
    def roles(self) -> list[str]:
        """The roles of all photos, in order of their first photo."""
        return list(dict.fromkeys(score.role for score in self.scores))

    def shares(self, view: int) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Returns two averages over a view's photos, or None if there are none.

        The share of wrong pixels by place, float32 [2, 160, 240], missed and added; and the share of photos whose car
        covers the place, float32 [160, 240].
        """
        if view not in self._photos:
            return None
        count = self._photos[view]
        places = (self._places[view] / (count * CELL**2)).astype(np.float32)
        coverage = (self._coverage[view] / (255 * count)).astype(np.float32)
        resized = cv2.resize(coverage, places.shape[:0:-1], interpolation=cv2.INTER_LINEAR)
        return places, resized.astype(np.float32, copy=False)
