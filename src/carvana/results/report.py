"""What an evaluation shows: pictures for `dvc plots`, and a page with everything."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import simplejpeg
import torch
from numpy.typing import NDArray

from carvana.competition import VIEWS, car_of
from carvana.data.archive import Archive
from carvana.data.cache import Cache
from carvana.params import Augment
from carvana.results import charts, page, pictures
from carvana.results.scoring import Score, worst_first
from carvana.results.totals import Findings
from carvana.training import history
from carvana.training.augment import Augmentation
from carvana.training.history import Epoch

_ERROR_MAP, _SAMPLES = "error-map", "training-samples"
_SAMPLE_COUNT = 8


@dataclass(frozen=True)
class Batch:
    """Photos uint8 [n, height, width, 3] as the network receives them, masks [n, height, width], and names."""

    photos: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    names: list[str]


@dataclass(frozen=True)
class Picture:
    """A picture as JPEG, for `dvc plots`, and as WebP, for the page."""

    jpeg: bytes
    webp: bytes

    @classmethod
    def of(cls, pixels: pictures.Pixels) -> "Picture":
        """Encodes RGB uint8 [height, width, 3]."""
        return cls(pictures.jpeg(pixels), pictures.webp(pixels))


def training_batch(cache: Cache, cars: set[str], limits: Augment, seed: int) -> Batch:
    """Returns some photos of those cars and their masks, augmented."""
    rows = np.array([row for row, name in enumerate(cache.names) if car_of(name) in cars])
    chance = torch.Generator().manual_seed(seed)
    picked = rows[torch.randperm(len(rows), generator=chance)[:_SAMPLE_COUNT].numpy()]
    changes = Augmentation.draw(len(picked), cache.size, limits, chance)
    pair = (torch.from_numpy(part) for part in (cache.read_photos(picked), cache.read_masks(picked)))
    photos, masks = changes.apply(*pair)
    return Batch(photos.to(torch.uint8).numpy(), masks.numpy(), [cache.names[row] for row in picked])


def choose(findings: Findings, worst: int, best: int) -> dict[str, Score]:
    """Returns the worst and the best photos of each role by picture name; names are the same in every experiment."""
    found: dict[str, Score] = {}
    for role in findings.roles:
        scores = worst_first(findings.of(role))
        for kind, count, ordered in (("worst", worst, scores), ("best", best, scores[::-1])):
            found |= {f"{role}-{kind}-{place:02d}": score for place, score in enumerate(ordered[:count], start=1)}
    return found


def draw(findings: Findings, batch: Batch, train: Path, shown: tuple[int, int], workers: int) -> dict[str, Picture]:
    """Returns the pictures by name; `shown` is how many of the (worst, best) predictions of each role to draw."""
    scores = choose(findings, *shown)
    with Archive(train) as photos, ThreadPoolExecutor(max(workers, 1)) as pool:

        def example(name: str) -> Picture:
            score = scores[name]
            photo = simplejpeg.decode_jpeg(photos.read(score.image), "RGB")
            title = f"{name.replace('-', ' ')}: {score.image}, Dice {score.dice:.4f}"
            return Picture.of(pictures.example(photo, *findings.runs[score.role, score.image], title))

        drawn = dict(zip(scores, pool.map(example, scores), strict=True))
    views = {view: found for view in VIEWS if (found := findings.shares(view))}
    drawn[_ERROR_MAP] = Picture.of(pictures.error_map(views))
    drawn[_SAMPLES] = Picture.of(pictures.training_samples(batch.photos, batch.masks, batch.names))
    return drawn


def render(
    findings: Findings,
    summaries: dict[str, dict[str, float | int]],
    histories: dict[int, list[Epoch]],
    model: str,
    drawn: dict[str, Picture],
) -> str:
    """Returns the page as HTML. `model` describes in a line what was evaluated."""
    predictions = {
        f"The {kind} of the {role} cars": {
            name: picture.webp for name, picture in drawn.items() if name.startswith(f"{role}-{kind}-")
        }
        for role in findings.roles
        for kind in ("worst", "best")
    }
    return page.render(
        "report.html",
        model=model,
        summaries=_shown(summaries),
        predictions=predictions,
        charts=_charts(findings, history.curves(histories)),
        error_map=drawn[_ERROR_MAP].webp,
        samples=drawn[_SAMPLES].webp,
    )


def thresholds(findings: Findings) -> pd.DataFrame:
    """Returns the mean Dice of the validation photos by threshold, as a table."""
    dice = findings.dice_by_threshold
    return pd.DataFrame({"threshold": [f"{threshold:g}" for threshold in dice], "dice": dice.values()})


def _shown(summaries: dict[str, dict[str, float | int]]) -> pd.DataFrame:
    names = {
        "role": "cars",
        "images": "photos",
        "dice": "Dice",
        "dice_median": "median",
        "dice_p05": "5th percentile",
        "dice_worst": "worst",
        "dice_network_size": "at network size",
        "iou": "IoU",
    }
    table = pd.DataFrame([{"role": role} | summary for role, summary in summaries.items()])
    return table[list(names)].rename(columns=names).map(lambda x: f"{x:.4f}" if isinstance(x, float) else x)


def _charts(findings: Findings, curves: pd.DataFrame) -> dict[str, str]:
    scores = pd.DataFrame(findings.scores)
    columns = {
        "distribution": ["dice"],
        "by_view": ["view", "dice"],
        "worst_cars": ["car", "dice"],
        "by_make": ["make", "car", "dice"],
        "outline": ["wrong", "within_1", "within_2", "within_5"],
    }
    # Without the other columns: a chart's data are parsed and copied more than once.
    drawn = {name: charts.draw(name, scores[["role", *wanted]]) for name, wanted in columns.items()}
    by_threshold = thresholds(findings)
    return drawn | {
        "thresholds": "" if by_threshold.empty else charts.draw("thresholds", by_threshold),
        "dice_by_epoch": charts.draw("curves", curves, "dice"),
        "loss_by_epoch": charts.draw("curves", curves, "loss"),
    }
