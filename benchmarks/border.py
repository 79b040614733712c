"""Measures what a network gets wrong by place and distance, and how much of it is the style of a car's annotator.

`python benchmarks/border.py` reads the workspace after `dvc repro`: each model predicts its validation cars, and all
models together the test cars. Pixels belong to the part of the outline that is nearest, by the direction in which it
faces. To see whether the masks of a car have a style, the threshold of each place is chosen in four ways for a photo:
0.5, by the masks of all other cars, by those of the car's other views (every second one), and by the photo's own mask,
which is the most that a shift of the outline can gain.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from carvana.base import params, paths  # noqa: E402
from carvana.base.console import Bar  # noqa: E402
from carvana.base.errors import UserError  # noqa: E402
from carvana.competition import HEIGHT, WIDTH, car_of, view_of  # noqa: E402
from carvana.data import cache, split  # noqa: E402
from carvana.masks import rle  # noqa: E402
from carvana.networks import checkpoint  # noqa: E402
from carvana.prediction.inference import Damaged, Ensemble, predict  # noqa: E402
from carvana.prediction.settings import Settings  # noqa: E402

PLACES = ("top", "ends", "underbody", "tyres")
# Pixels from the true outline, between pixel centres: the first band are those beside it.
BANDS = (1, 2, 4, 8, 2000)
# Logits at which the outline may be drawn; 0 is a probability of 0.5.
LEVELS = np.linspace(-8, 8, 65)


@dataclass(frozen=True)
class Study:
    """One photo. `missed` and `added` are wrong pixels [place, band], `wrong` those by each level [place, level].

    `predicted` are all pixels that are car by each level [place, level], `area` the mask's pixels.
    """

    name: str
    role: str
    area: int
    missed: NDArray[np.int64]
    added: NDArray[np.int64]
    wrong: NDArray[np.int64]
    predicted: NDArray[np.int64]

    def dice(self, levels: NDArray[np.int64]) -> float:
        """Returns the Dice by the level of each place, as indices of `LEVELS`."""
        places = np.arange(len(PLACES))
        wrong, predicted = self.wrong[places, levels].sum(), self.predicted[places, levels].sum()
        return float(1 - wrong / (predicted + self.area))


def distance(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Returns each pixel's distance in pixels from the nearest one of the other kind; negative inside."""

    def to_others(part: NDArray[np.bool_]) -> NDArray[np.float32]:
        return np.asarray(cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float32)

    return to_others(~mask) - to_others(mask)


def places_of(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Returns each pixel's place, as an index of `PLACES`, by the direction of the nearest part of the outline.

    Down is within 45° of it; the lowest 8 % of the car's height are tyres.
    """
    smooth = cv2.GaussianBlur(distance(mask), (0, 0), 3)
    down, right = cv2.Sobel(smooth, cv2.CV_32F, 0, 1), cv2.Sobel(smooth, cv2.CV_32F, 1, 0)
    rows = np.flatnonzero(mask.any(axis=1))
    low = np.arange(HEIGHT)[:, None] > rows[-1] - 0.08 * (rows[-1] - rows[0])
    underside = np.where(low, PLACES.index("tyres"), PLACES.index("underbody"))
    sideways = np.where(down < 0, PLACES.index("top"), underside)
    return np.where(np.abs(right) > np.abs(down), PLACES.index("ends"), sideways)


def study(name: str, role: str, logits: NDArray[np.float32], true: NDArray[np.bool_]) -> Study:
    """Returns what is wrong in a photo, of logits at network size and the mask at full size."""
    logits = cv2.resize(logits, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    found = logits > 0
    place = places_of(found)
    band = np.digitize(np.abs(distance(true)), BANDS, right=True)

    def count(index: NDArray[np.int64], kinds: int, where: NDArray[np.bool_]) -> NDArray[np.int64]:
        both = (place * kinds + index)[where]
        return np.bincount(both, minlength=len(PLACES) * kinds).reshape(len(PLACES), kinds)

    def above(where: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Returns the pixels whose logit exceeds each level."""
        kinds = len(LEVELS) + 1
        by_level = count(np.digitize(logits, LEVELS, right=True), kinds, where)
        return by_level[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]

    of_car, all_pixels = above(true), above(np.ones_like(true))
    in_place = np.bincount(place[true], minlength=len(PLACES))[:, None]
    return Study(
        name,
        role,
        int(true.sum()),
        count(band, len(BANDS), true & ~found),
        count(band, len(BANDS), found & ~true),
        in_place + all_pixels - 2 * of_car,
        all_pixels,
    )


def study_all() -> list[Study]:
    """Returns a study of every validation and test photo of the workspace's models."""
    settings = params.load(paths.PARAMS)
    truth = cache.read(paths.CACHE, settings.train.size)
    roles, how, true = split.read(paths.SPLIT, truth.names), Settings.of(settings), dict(truth.each_truth())
    trained = {fold: checkpoint.load(paths.model(fold)) for fold in settings.train.folds}
    parts = [*((str(fold), [model]) for fold, model in trained.items()), (split.TEST, [*trained.values()])]
    studies = []
    count = sum(roles[car_of(name)] in dict(parts) for name in truth.names)
    with Bar(total=count, desc="border", unit=" photos") as bar:
        for part, models in parts:
            names = [name for name in truth.names if roles[car_of(name)] == part]
            ensemble = Ensemble(models, how.flip, how.scales)
            for outcome in predict(ensemble, paths.TRAIN, names, how, keep_logits=True):
                if isinstance(outcome, Damaged):
                    raise outcome.reason
                assert outcome.logits is not None
                mask = rle.to_mask(true[outcome.photo], HEIGHT, WIDTH).astype(bool)
                studies.append(study(outcome.photo, part, outcome.logits, mask))
                bar.update()
    return studies


def where_wrong(studies: list[Study]) -> pd.DataFrame:
    """Returns the Dice that is lost [place and kind, band], in units of 0.0001, the mean of all photos."""
    rows = {}
    for row, place in enumerate(PLACES):
        for kind in ("missed", "added"):
            # Each wrong pixel costs nearly 1 / (2 × area).
            lost = [getattr(each, kind)[row] / (2 * each.area) for each in studies]
            rows[place, kind] = np.mean(lost, axis=0) * 10_000
    columns = [f"≤ {band}" for band in BANDS[:-1]] + [f"> {BANDS[-2]}"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    table["all"] = table.sum(axis=1)
    table.loc["all", :] = table.sum(axis=0).to_numpy()
    return table


def levels_by(studies: list[Study]) -> NDArray[np.int64]:
    """Returns the level of each place with the fewest wrong pixels, in shares of each photo's car."""
    wrong = sum((each.wrong / each.area for each in studies), np.zeros((len(PLACES), len(LEVELS))))
    return wrong.argmin(axis=1)


def by_style(studies: list[Study]) -> pd.DataFrame:
    """Returns every photo's Dice by a level of 0, and by those of other cars, of the car's other views, and its own."""
    zero = np.full(len(PLACES), len(LEVELS) // 2)
    rows = []
    for each in studies:
        car, half = car_of(each.name), view_of(each.name) % 2
        others = levels_by([other for other in studies if car_of(other.name) != car])
        views = levels_by([o for o in studies if car_of(o.name) == car and view_of(o.name) % 2 != half])
        choices = {"0.5": zero, "other cars": others, "other views": views, "itself": levels_by([each])}
        dice = {name: each.dice(levels) for name, levels in choices.items()}
        rows.append({"role": "test" if each.role == split.TEST else "validation", "car": car} | dice)
    return pd.DataFrame(rows)


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.parse_args()
    try:
        studies = study_all()
    except UserError as error:
        sys.exit(f"error: {error}")
    print("Dice that is lost, in units of 0.0001, by place and by pixels from the true outline")
    print(where_wrong(studies).round(2).to_string(), end="\n\n")
    style = by_style(studies)
    print("Mean Dice by thresholds that were chosen by …")
    print(style.drop(columns="car").groupby("role").mean().round(5).to_string(), end="\n\n")
    gain = style.groupby("car")[["other views", "0.5"]].mean()
    gain = (gain["other views"] - gain["0.5"]) * 10_000
    print(f"Other views gain in {(gain > 0).sum()} of {len(gain)} cars, in units of 0.0001:")
    print(gain.describe().round(2).to_string())


if __name__ == "__main__":
    main()
