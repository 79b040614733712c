"""The photos that an evaluation shows: the worst and the best, the same in every experiment, and training's."""

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray

from carvana.base.params import Augment
from carvana.competition import VIEWS, car_of
from carvana.data.archive import Archive
from carvana.data.cache import Cache
from carvana.results import pictures
from carvana.results.pictures import Picture, Tiles
from carvana.results.scoring import Score, worst_first
from carvana.results.totals import Findings
from carvana.training.augment import Augmentation

_SAME = 4  # photos of each role
_SAMPLES = 8

_Shown = TypeVar("_Shown")


@dataclass(frozen=True)
class Batch:
    """Photos uint8 [n, height, width, 3] as the network receives them, masks [n, height, width], and names."""

    photos: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    names: list[str]

    @property
    def tiles(self) -> Tiles:
        """Each photo beside a copy that shows its mask."""
        return pictures.training_samples(self.photos, self.masks, self.names)


def training_batch(cache: Cache, cars: set[str], limits: Augment, seed: int) -> Batch:
    """Returns some photos of those cars and their masks, augmented."""
    rows = np.array([row for row, name in enumerate(cache.names) if car_of(name) in cars])
    chance = torch.Generator().manual_seed(seed)
    picked = rows[torch.randperm(len(rows), generator=chance)[:_SAMPLES].numpy()]
    changes = Augmentation.draw(len(picked), cache.size, limits, chance)
    pair = (torch.from_numpy(part) for part in (cache.read_photos(picked), cache.read_masks(picked)))
    photos, masks = changes.apply(*pair)
    return Batch(photos.to(torch.uint8).numpy(), masks.numpy(), [cache.names[row] for row in picked])


def extremes(findings: Findings, worst: int, best: int) -> dict[str, Score]:
    """Returns the worst and the best photos of each role, as `test-worst-01` and so on."""
    found: dict[str, Score] = {}
    for role in findings.roles:
        scores = worst_first(findings.of(role))
        for kind, count, ordered in (("worst", worst, scores), ("best", best, scores[::-1])):
            found |= {f"{role}-{kind}-{place:02d}": score for place, score in enumerate(ordered[:count], start=1)}
    return found


def same(findings: Findings) -> dict[str, Score]:
    """Returns some photos of each role, as `test-0cdf5b5d0ce1_01`, chosen by their names alone.

    So experiments with the same split show the same photos.
    """
    found: dict[str, Score] = {}
    for role in findings.roles:
        scores = sorted(findings.of(role), key=lambda score: hashlib.sha256(score.image.encode()).digest())
        found |= {f"{role}-{score.image.removesuffix('.jpg')}": score for score in scores[:_SAME]}
    return found


def draw(
    scores: Mapping[str, Score], findings: Findings, train: Path, workers: int, show: Callable[[Score, Tiles], _Shown]
) -> dict[str, _Shown]:
    """Returns what `show` makes of each score and its tiles, by the same names. It is called in threads."""
    with Archive(train) as photos, ThreadPoolExecutor(max(workers, 1)) as pool:

        def one(score: Score) -> _Shown:
            photo = simplejpeg.decode_jpeg(photos.read(score.image), "RGB")
            return show(score, pictures.example(photo, *findings.runs[score.role, score.image]))

        return dict(zip(scores, pool.map(one, scores.values()), strict=True))


def on_page(score: Score, tiles: Tiles) -> tuple[Score, dict[str, Picture]]:
    """Returns a prediction as pictures on a page, with its score."""
    return score, pictures.encode(tiles)


def on_sheet(score: Score, tiles: Tiles) -> bytes:
    """Returns a prediction as one JPEG with a title, for `dvc plots`."""
    title = f"{score.role} car {score.image}: Dice {score.dice:.4f}"
    return pictures.jpeg(pictures.sheet(tiles, 2, title))


def error_map(findings: Findings) -> Tiles:
    """Returns the map of wrong pixels of each view of which there are photos."""
    return pictures.error_map({view: found for view in VIEWS if (found := findings.shares(view))})
