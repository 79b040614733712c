"""The photos that an evaluation shows: the worst and the best, the same in every experiment, and training's."""

import functools
import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray

from carvana.base.params import Augment
from carvana.competition import HEIGHT, VIEWS, WIDTH, car_of
from carvana.data.archive import Archive
from carvana.data.cache import Cache
from carvana.masks import rle
from carvana.results import pictures, wrong_pixels
from carvana.results.pictures import Pixels, Tiles
from carvana.results.scoring import Findings, Score
from carvana.training.augment import Augmentation

_SAME = 4  # photos of each role
_SAMPLES = 8

_Shown = TypeVar("_Shown")


def training_batch(cache: Cache, cars: set[str], limits: Augment, seed: int) -> tuple[Pixels, Pixels, list[str]]:
    """Returns some photos of those cars, augmented: as the network receives them, their masks, and their names.

    Photos are uint8 [n, height, width, 3], masks uint8 [n, height, width] in 0–255.
    """
    rows = np.array([row for row, name in enumerate(cache.names) if car_of(name) in cars])
    chance = torch.Generator().manual_seed(seed)
    picked = rows[torch.randperm(len(rows), generator=chance)[:_SAMPLES].numpy()]
    changes = Augmentation.draw(len(picked), cache.size, limits, chance)
    photos, masks = torch.from_numpy(cache.read_photos(picked)), torch.from_numpy(cache.read_masks(picked))
    photos, masks = changes.apply(photos, masks)
    return photos.to(torch.uint8).numpy(), masks.numpy(), [cache.names[row] for row in picked]


def extremes(findings: Findings, worst: int, best: int) -> dict[str, list[Score]]:
    """Returns the worst and then the best photos of each role, each photo only once, by a heading."""
    found: dict[str, list[Score]] = {}
    for role, scores in findings.by_role.items():
        found[f"The worst photos of {role} cars"] = scores[:worst]
        found[f"The best photos of {role} cars"] = scores[worst:][::-1][:best]
    return found


def same(findings: Findings) -> list[Score]:
    """Returns some photos of each role by their names alone, so that experiments with one split show the same."""
    found: list[Score] = []
    for scores in findings.by_role.values():
        found += sorted(scores, key=lambda score: hashlib.sha256(score.image.encode()).digest())[:_SAME]
    return found


def draw(
    scores: Iterable[Score], findings: Findings, train: Path, workers: int, show: Callable[[Score, Tiles], _Shown]
) -> dict[str, _Shown]:
    """Returns what `show` makes of each score and its tiles, by the photo's name. It is called in threads."""
    with Archive(train) as photos, ThreadPoolExecutor(max(workers, 1)) as pool:

        def one(score: Score) -> tuple[str, _Shown]:
            photo = simplejpeg.decode_jpeg(photos.read(score.image), "RGB")
            return score.image, show(score, pictures.example(photo, *findings.runs[score.image]))

        return dict(pool.map(one, scores))


def sheets(findings: Findings, train: Path, workers: int) -> dict[str, bytes]:
    """Returns the photos of `same` for `dvc plots`, as JPEGs by name, `test-0cdf5b5d0ce1_01` for one."""

    def sheet(score: Score, tiles: Tiles) -> bytes:
        return pictures.sheet(tiles, 2, f"{score.role} car {score.image}: Dice {score.dice:.4f}")

    scores = same(findings)
    drawn = draw(scores, findings, train, workers, sheet)
    return {f"{score.role}-{score.image.removesuffix('.jpg')}": drawn[score.image] for score in scores}


def shares(findings: Findings, truth: Cache) -> dict[int, tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Returns two shares by place, for each view with photos: of wrong pixels, and of photos with a car there.

    The first is float32 [2, 160, 240], missed and added, the second float32 [160, 240].
    """
    found = {}
    row_of = {name: np.array([row]) for row, name in enumerate(truth.names)}
    for view in VIEWS:
        names = [score.image for score in findings.scores if score.view == view]
        if names:
            pairs = (findings.runs[name] for name in names)
            places = (wrong_pixels.places(*pair, rle.to_mask(pair[1], HEIGHT, WIDTH)) for pair in pairs)
            masks = (truth.read_masks(row_of[name])[0].astype(np.uint32) for name in names)
            wrong = (functools.reduce(np.add, places) / (len(names) * wrong_pixels.CELL**2)).astype(np.float32)
            covered = (functools.reduce(np.add, masks) / (255 * len(names))).astype(np.float32)
            found[view] = wrong, cv2.resize(covered, wrong.shape[:0:-1], interpolation=cv2.INTER_LINEAR)
    return found
