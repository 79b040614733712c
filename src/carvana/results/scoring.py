"""Scores of trained models on cars they have not seen, at 1918×1280 and at network size."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from carvana.competition import HEIGHT, WIDTH, car_of, view_of
from carvana.data import split
from carvana.data.cache import Cache
from carvana.data.photos import soften
from carvana.masks import metrics, rle
from carvana.networks.checkpoint import Trained
from carvana.prediction.inference import Damaged, Ensemble, Outcome, Prediction, in_order, predict
from carvana.prediction.settings import Settings
from carvana.results import wrong_pixels

_PHOTOS_AHEAD = 4  # a thread


@dataclass(frozen=True)
class Score:
    """One photo's scores. `role` is `split.TEST`, or `split.VALIDATION` for a photo of its model's validation fold.

    `make` is empty if it is not known. `wrong` are pixels at 1918×1280, `missed` those of them that are car,
    `within_1` those at most a pixel from the true outline, and so on; see `wrong_pixels.Mistakes`.
    """

    image: str
    car: str
    view: int
    make: str
    role: str
    dice: float
    iou: float
    dice_network_size: float
    wrong: int
    missed: int
    within_1: int
    within_2: int
    within_5: int


@dataclass(frozen=True)
class Scored:
    """A photo's score with what a report shows of it.

    `runs` are predicted, `true` are the mask's, `places` those of `wrong_pixels.Mistakes`, `coverage` uint8
    [height, width] is the mask in 0–255 at the training's size.
    """

    score: Score
    runs: rle.Runs
    true: rle.Runs
    places: NDArray[np.int32]
    coverage: NDArray[np.uint8]


class Findings:
    """The scores of all photos, their predicted and true runs by name, and sums over them; 20 KB a photo."""

    def __init__(self) -> None:
        self.scores: list[Score] = []
        self.runs: dict[str, tuple[rle.Runs, rle.Runs]] = {}
        self._photos: Counter[int] = Counter()
        self._places: dict[int, NDArray[np.int32]] = {}
        self._coverage: dict[int, NDArray[np.uint32]] = {}

    def add(self, scored: Scored) -> None:
        """Adds one photo."""
        self.scores.append(scored.score)
        # Copies: either may be a view of a much larger array.
        self.runs[scored.score.image] = (scored.runs.copy(), scored.true.copy())
        view = scored.score.view
        self._photos[view] += 1
        self._places[view] = self._places.get(view, 0) + scored.places
        self._coverage[view] = self._coverage.get(view, 0) + scored.coverage.astype(np.uint32)

    @property
    def by_role(self) -> dict[str, list[Score]]:
        """The scores of each role, the lowest Dice first; roles are in the order of their first photos."""
        found: dict[str, list[Score]] = {score.role: [] for score in self.scores}
        for score in worst_first(self.scores):
            found[score.role].append(score)
        return found

    def shares(self) -> dict[int, tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Returns two averages over the photos of each view of which there are any.

        The share of wrong pixels by place, float32 [2, 160, 240], missed and added; and the share of photos whose car
        covers the place, float32 [160, 240].
        """
        found = {}
        for view, count in sorted(self._photos.items()):
            places = (self._places[view] / (count * wrong_pixels.CELL**2)).astype(np.float32)
            coverage = (self._coverage[view] / (255 * count)).astype(np.float32)
            found[view] = places, cv2.resize(coverage, places.shape[:0:-1], interpolation=cv2.INTER_LINEAR)
        return found


def find(
    trained: dict[int, Trained],
    train: Path,
    truth: Cache,
    roles: dict[str, str],
    makes: dict[str, str],
    how: Settings,
    done: Callable[[], object],
) -> Findings:
    """Returns the findings of every model on its validation cars, and of all models together on the test cars.

    The runs that would be submitted are scored against Kaggle's masks: photos are read from the zip, as prediction
    reads them, and their masks from the cache. Calls `done` after each photo. Raises UserError if one cannot be read.
    """
    findings = Findings()
    validations = [(str(fold), split.VALIDATION, [one]) for fold, one in trained.items()]
    for part, role, members in [*validations, (split.TEST, split.TEST, list(trained.values()))]:
        rows = [row for row, name in enumerate(truth.names) if roles[car_of(name)] == part]
        for scored in _score_photos(Ensemble(members, how.flip, how.scales), train, truth, rows, makes, role, how):
            findings.add(scored)
            done()
    return findings


def _score_photos(
    ensemble: Ensemble, train: Path, truth: Cache, rows: list[int], makes: dict[str, str], role: str, how: Settings
) -> Iterator[Scored]:
    row_of_name = {truth.names[row]: row for row in rows}
    runs_of_name = dict(zip(row_of_name, truth.read_truth(np.array(rows, dtype=np.int64)), strict=True))

    def one(outcome: Outcome) -> Scored:
        if isinstance(outcome, Damaged):
            raise outcome.reason
        name = outcome.photo
        coverage = truth.read_masks(np.array([row_of_name[name]]))[0]
        return score_one(outcome, runs_of_name[name], coverage, makes.get(car_of(name), ""), role)

    with ThreadPoolExecutor(how.threads) as pool:
        futures = (pool.submit(one, outcome) for outcome in predict(ensemble, train, row_of_name, how))
        yield from in_order(futures, _PHOTOS_AHEAD * how.threads)


def score_one(prediction: Prediction, true: rle.Runs, coverage: NDArray[np.uint8], make: str, role: str) -> Scored:
    """Returns the scores of one prediction against the runs of its mask at 1918×1280.

    `coverage` uint8 [height, width] in 0–255 is the mask at the size at which the network was trained.
    """
    mask = rle.to_mask(true, HEIGHT, WIDTH)
    full = metrics.overlap_of_runs(prediction.runs, true)
    size = prediction.logits.shape
    at_size = coverage if coverage.shape == size else soften(mask, (size[0], size[1]))
    small = metrics.overlap_of_masks(prediction.logits > 0, at_size >= 128)
    found = wrong_pixels.find(prediction.runs, true, mask)
    name = prediction.photo
    score = Score(
        image=name,
        car=car_of(name),
        view=view_of(name),
        make=make,
        role=role,
        dice=full.dice,
        iou=full.iou,
        dice_network_size=small.dice,
        wrong=found.missed + found.added,
        missed=found.missed,
        within_1=found.within[1],
        within_2=found.within[2],
        within_5=found.within[5],
    )
    return Scored(score, prediction.runs, true, found.places, coverage)


def summarise(scores: list[Score]) -> dict[str, float | int]:
    """Returns mean, median, 5th percentile and worst Dice at full size, mean IoU, mean Dice at network size, and count.

    `wrong_within_2px` is the share of all wrong pixels that lie within 2 pixels of the outline.
    """
    dice = np.array([score.dice for score in scores])
    wrong = sum(score.wrong for score in scores)
    numbers = {
        "dice": dice.mean(),
        "dice_median": np.median(dice),
        "dice_p05": np.percentile(dice, 5),
        "dice_worst": dice.min(),
        "dice_network_size": np.mean([score.dice_network_size for score in scores]),
        "iou": np.mean([score.iou for score in scores]),
        "wrong_within_2px": sum(score.within_2 for score in scores) / max(wrong, 1),
    }
    return {name: round(float(value), 6) for name, value in numbers.items()} | {"images": len(scores)}


def worst_first(scores: list[Score]) -> list[Score]:
    """Returns the scores sorted by Dice, the lowest first."""
    return sorted(scores, key=lambda score: (score.dice, score.image))
