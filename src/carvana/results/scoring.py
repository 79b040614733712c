"""Scores of trained models on cars they have not seen, at 1918×1280 and at network size."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from carvana.competition import HEIGHT, WIDTH, car_of, view_of
from carvana.data import split
from carvana.data.cache import Cache
from carvana.data.photos import soften
from carvana.masks import metrics, rle
from carvana.masks.fullsize import level_of
from carvana.networks.checkpoint import Trained
from carvana.prediction.inference import Damaged, Ensemble, Outcome, Prediction, in_order, predict
from carvana.prediction.settings import Settings
from carvana.results import wrong_pixels

_PHOTOS_AHEAD = 4  # a thread


@dataclass(frozen=True)
class Score:
    """One photo's scores. `role` is `split.TEST`, or `split.VALIDATION` for a photo of its model's validation fold.

    `make` is empty if it is not known. `wrong` are pixels at 1918×1280, `missed` those of them that are car,
    `within_1` those at most a pixel from the true outline, and so on.
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
class Findings:
    """The scores of all photos, and their predicted and true runs by name; 20 KB a photo."""

    scores: list[Score]
    runs: dict[str, tuple[rle.Runs, rle.Runs]]

    @property
    def by_role(self) -> dict[str, list[Score]]:
        """The scores of each role, the lowest Dice first; roles are in the order of their first photos."""
        found: dict[str, list[Score]] = {score.role: [] for score in self.scores}
        for score in worst_first(self.scores):
            found[score.role].append(score)
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
    findings, true = Findings([], {}), dict(truth.each_truth())
    row_of = {name: row for row, name in enumerate(truth.names)}

    def one(outcome: Outcome, role: str) -> tuple[Score, rle.Runs]:
        if isinstance(outcome, Damaged):
            raise outcome.reason
        name = outcome.photo
        coverage = truth.read_masks(np.array([row_of[name]]))[0]
        # A copy: the runs may be a view of a much larger array.
        make = makes.get(car_of(name), "")
        return score_one(outcome, true[name], coverage, make, role, how.threshold), outcome.runs.copy()

    validations = [(str(fold), split.VALIDATION, [model]) for fold, model in trained.items()]
    with ThreadPoolExecutor(how.threads) as pool:
        for part, role, models in [*validations, (split.TEST, split.TEST, list(trained.values()))]:
            names = [name for name in truth.names if roles[car_of(name)] == part]
            outcomes = predict(Ensemble(models, how.flip, how.scales), train, names, how, keep_logits=True)
            for score, runs in in_order(pool, partial(one, role=role), outcomes, _PHOTOS_AHEAD * how.threads):
                findings.scores.append(score)
                findings.runs[score.image] = runs, true[score.image]
                done()
    return findings


def score_one(
    prediction: Prediction, true: rle.Runs, coverage: NDArray[np.uint8], make: str, role: str, threshold: float
) -> Score:
    """Returns the scores of one prediction against the runs of its mask at 1918×1280.

    `coverage` uint8 [height, width] in 0–255 is the mask at the size at which the network was trained, and `threshold`
    the probability above which a pixel is car.
    """
    mask, name, logits = rle.to_mask(true, HEIGHT, WIDTH), prediction.photo, prediction.logits
    assert logits is not None
    full = metrics.overlap_of_runs(prediction.runs, true)
    size = logits.shape
    at_size = coverage if coverage.shape == size else soften(mask, (size[0], size[1]))
    missed, added = wrong_pixels.places(prediction.runs, true, mask).sum(axis=(1, 2)).tolist()
    within_1, within_2, within_5 = wrong_pixels.within(prediction.runs, true, mask)
    return Score(
        image=name,
        car=car_of(name),
        view=view_of(name),
        make=make,
        role=role,
        dice=full.dice,
        iou=full.iou,
        dice_network_size=metrics.overlap_of_masks(logits > level_of(threshold), at_size >= 128).dice,
        wrong=missed + added,
        missed=missed,
        within_1=within_1,
        within_2=within_2,
        within_5=within_5,
    )


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
