"""The same photos under two experiments: both models predict them again, and their mistakes are drawn side by side."""

from collections.abc import Callable
from dataclasses import replace

import simplejpeg

from carvana.base import paths
from carvana.competition import HEIGHT, WIDTH, car_of, mask_of
from carvana.data import split
from carvana.data.archive import Archive
from carvana.data.photos import decode_mask
from carvana.experiments.known import Experiment
from carvana.masks.rle import Runs, to_mask
from carvana.networks import checkpoint
from carvana.prediction.inference import Damaged, Ensemble, predict
from carvana.prediction.settings import Settings
from carvana.results import pictures, wrong_pixels
from carvana.results.pictures import Picture, Pixels


def masks(experiment: Experiment, photos: list[str], how: Settings, done: Callable[[], object]) -> dict[str, Runs]:
    """Returns the runs of photos, predicted as the experiment's evaluation did, and calls `done` after each.

    A test car's are those of all its models together, a validation car's those of the one that was not trained on it.
    Threshold, flip and scales are the experiment's, the rest is that of `how`. Raises UserError if a file is missing.
    """
    used = experiment.params
    # Experiments of earlier versions have no scales.
    scales = tuple(used.get("predict.scales", (1.0,)))
    how = replace(how, threshold=used["predict.threshold"], flip=used["predict.flip"], scales=scales)
    roles = split.read(experiment.file(paths.SPLIT), photos)
    trained = {str(fold): checkpoint.load(experiment.file(paths.model(fold))) for fold in used["train.folds"]}
    train = experiment.file(paths.TRAIN)
    found: dict[str, Runs] = {}
    for role in sorted({roles[car_of(name)] for name in photos}):
        members = list(trained.values()) if role == split.TEST else [trained[role]]
        wanted = [name for name in photos if roles[car_of(name)] == role]
        for outcome in predict(Ensemble(members, how.flip, how.scales), train, wanted, how):
            if isinstance(outcome, Damaged):
                raise outcome.reason
            found[outcome.photo] = outcome.runs
            done()
    return found


def draw(experiment: Experiment, predicted: dict[str, dict[str, Runs]]) -> dict[str, dict[str, Picture]]:
    """Returns what to show of the experiment's photos, by photo; `predicted` are both sides' runs, by their names."""
    (first, one), (second, other) = predicted.items()
    texts = [first, second, f"{first}, where they differ most", f"{second}, the same place"]
    drawn = {}
    with Archive(experiment.file(paths.TRAIN)) as photos, Archive(experiment.file(paths.TRAIN_MASKS)) as true:
        for name, runs in one.items():
            photo = simplejpeg.decode_jpeg(photos.read(name), "RGB")
            tiles = side_by_side(photo, runs, other[name], decode_mask(true.read(mask_of(name)), name))
            drawn[name] = pictures.encode(dict(zip(texts, tiles, strict=True)))
    return drawn


def side_by_side(photo: Pixels, one: Runs, other: Runs, true: Pixels) -> list[Pixels]:
    """Returns four tiles RGB uint8 [256, 384, 3]: the mistakes of two predictions, and where they differ most.

    `photo` is RGB uint8 [1280, 1918, 3], `true` its mask of {0, 1}. A frame in the first two marks the place of the
    other two, which are at the photo's full resolution.
    """
    guesses = [to_mask(runs, HEIGHT, WIDTH) for runs in (one, other)]
    spot = pictures.worst_spot(wrong_pixels.places(one, other, guesses[1]))
    wholes, details = zip(*(pictures.mistakes(photo, guess, true, spot) for guess in guesses), strict=True)
    return [*wholes, *details]
