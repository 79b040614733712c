"""Scores of trained models on cars they have not seen, at 1918×1280 and at network size."""

import csv
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from tqdm import tqdm

from carvana import metrics, photos, rle
from carvana.archive import Archive, car_of, mask_of
from carvana.predict import Damaged, Ensemble, Prediction, Settings, predict
from carvana.work import whole_file


@dataclass(frozen=True)
class Score:
    """One photo's scores. `role` is 'test', or 'validation' for a photo of its model's validation fold."""

    image: str
    role: str
    dice: float
    iou: float
    dice_network_size: float


def score_photos(
    ensemble: Ensemble, train: Path, train_masks: Path, cars: set[str], role: str, settings: Settings
) -> Iterator[Score]:
    """Scores of every photo of those cars, from the run lists that would be submitted against Kaggle's masks."""
    with Archive(train) as archive, Archive(train_masks) as masks:
        names = [name for name in archive.photos if car_of(name) in cars]
        predictions = predict(ensemble, archive, names, settings)
        label = f"evaluate {role}"
        for prediction in tqdm(predictions, total=len(names), desc=label, unit=" photos", disable=None):
            if isinstance(prediction, Damaged):
                raise prediction.reason
            name = mask_of(prediction.photo)
            mask = photos.decode_mask(masks.read(name), f"{train_masks}: {name}")
            yield score_one(prediction, mask, role)


def score_one(prediction: Prediction, mask: np.ndarray, role: str) -> Score:
    """Scores of one prediction against its mask uint8 [1280, 1918] of {0, 1}."""
    full = metrics.overlap_of_runs(prediction.runs, rle.to_runs(mask))
    small_mask = photos.soften(mask, prediction.logits.shape) >= 128
    small = metrics.overlap_of_masks(prediction.logits > 0, small_mask)
    return Score(prediction.photo, role, full.dice, full.iou, small.dice)


def summarise(scores: list[Score]) -> dict[str, float | int]:
    """Mean, median, 5th percentile and worst Dice at full size; mean IoU; mean Dice at network size; the count."""
    dice = np.array([score.dice for score in scores])
    return {
        "dice": _rounded(dice.mean()),
        "dice_median": _rounded(np.median(dice)),
        "dice_p05": _rounded(np.percentile(dice, 5)),
        "dice_worst": _rounded(dice.min()),
        "dice_network_size": _rounded(np.mean([score.dice_network_size for score in scores])),
        "iou": _rounded(np.mean([score.iou for score in scores])),
        "images": len(scores),
    }


def write_scores(path: Path, scores: list[Score]) -> None:
    """Writes a row a photo, the worst first."""
    with whole_file(path) as temporary, temporary.open("w", encoding="ascii", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Score)], lineterminator="\n")
        writer.writeheader()
        for score in sorted(scores, key=lambda score: (score.dice, score.image)):
            row = asdict(score)
            writer.writerow({key: f"{value:.6f}" if isinstance(value, float) else value for key, value in row.items()})


def _rounded(value: float) -> float:
    return round(float(value), 6)
