"""The findings of an evaluation, summed up photo by photo: everything that its report shows."""

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
        self._views: dict[int, _View] = {}

    def add(self, scored: Scored) -> None:
        """Adds one photo."""
        score = scored.score
        self.scores.append(score)
        # Copies: either may be a view of a much larger array.
        self.runs[score.role, score.image] = (scored.runs.copy(), scored.true.copy())
        if score.view not in self._views:
            self._views[score.view] = _View(scored)
        self._views[score.view].add(scored)

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
        found = self._views.get(view)
        return found.shares() if found else None


class _View:
    """Sums over the photos of one view."""

    def __init__(self, like: Scored) -> None:
        self._count = 0
        self._places = np.zeros_like(like.mistakes.places)
        self._coverage = np.zeros(like.coverage.shape, np.uint32)

    def add(self, scored: Scored) -> None:
        self._count += 1
        self._places += scored.mistakes.places
        self._coverage += scored.coverage

    def shares(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        places = (self._places / (self._count * CELL**2)).astype(np.float32)
        coverage = (self._coverage / (255 * self._count)).astype(np.float32)
        resized = cv2.resize(coverage, places.shape[:0:-1], interpolation=cv2.INTER_LINEAR)
        return places, resized.astype(np.float32, copy=False)
