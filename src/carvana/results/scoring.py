"""Scores of trained models on cars they have not seen, at 1918×1280 and at network size."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from carvana.competition import HEIGHT, WIDTH, car_of, view_of
from carvana.data.cache import Cache
from carvana.data.photos import soften
from carvana.masks import metrics, rle
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

    `runs` are predicted, `true` are the mask's, `coverage` uint8 [height, width] is the mask in 0–255 at the training's
    size.
    """

    score: Score
    runs: rle.Runs
    true: rle.Runs
    mistakes: wrong_pixels.Mistakes
    coverage: NDArray[np.uint8]


def score_photos(
    ensemble: Ensemble, train: Path, truth: Cache, cars: set[str], makes: dict[str, str], role: str, settings: Settings
) -> Iterator[Scored]:
    """Yields the scores of every photo of those cars: the runs that would be submitted against Kaggle's masks.

    Photos are read from the zip, as prediction reads them, and their masks from the cache. Raises UserError if a photo
    cannot be read.
    """
    rows = np.array([row for row, name in enumerate(truth.names) if car_of(name) in cars], dtype=np.int64)
    row_of_name = {truth.names[row]: row for row in rows}
    runs_of_name = dict(zip(row_of_name, truth.read_truth(rows), strict=True))

    def one(outcome: Outcome) -> Scored:
        if isinstance(outcome, Damaged):
            raise outcome.reason
        name = outcome.photo
        coverage = truth.read_masks(np.array([row_of_name[name]]))[0]
        return score_one(outcome, runs_of_name[name], coverage, makes.get(car_of(name), ""), role)

    with ThreadPoolExecutor(max(settings.workers, 1)) as pool:
        futures = (pool.submit(one, outcome) for outcome in predict(ensemble, train, row_of_name, settings))
        yield from in_order(futures, _PHOTOS_AHEAD * max(settings.workers, 1))


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
    return Scored(score, prediction.runs, true, found, coverage)


def summarise(scores: list[Score]) -> dict[str, float | int]:
    """Returns mean, median, 5th percentile and worst Dice at full size, mean IoU, mean Dice at network size, and count.

    `wrong_within_2px` is the share of all wrong pixels that lie within 2 pixels of the outline.
    """
    dice = np.array([score.dice for score in scores])
    wrong = sum(score.wrong for score in scores)
    return {
        "dice": _rounded(dice.mean()),
        "dice_median": _rounded(np.median(dice)),
        "dice_p05": _rounded(np.percentile(dice, 5)),
        "dice_worst": _rounded(dice.min()),
        "dice_network_size": _rounded(np.mean([score.dice_network_size for score in scores])),
        "iou": _rounded(np.mean([score.iou for score in scores])),
        "wrong_within_2px": _rounded(sum(score.within_2 for score in scores) / max(wrong, 1)),
        "images": len(scores),
    }


def worst_first(scores: list[Score]) -> list[Score]:
    """Returns the scores sorted by Dice, the lowest first."""
    return sorted(scores, key=lambda score: (score.dice, score.image))


def _rounded(value: float | np.floating) -> float:
    return round(float(value), 6)
