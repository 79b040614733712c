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
from carvana.masks.rle import Runs, to_mask, to_runs
from carvana.networks import checkpoint
from carvana.prediction.inference import Damaged, Ensemble, predict
from carvana.prediction.settings import Settings
from carvana.results import pictures, wrong_pixels
from carvana.results.pictures import Picture, Pixels

Photo = tuple[str, str]
"""A photo's role, `test` or `validation`, and its name."""


def masks(experiment: Experiment, photos: list[Photo], how: Settings, done: Callable[[], object]) -> dict[Photo, Runs]:
    """Returns the runs of photos, predicted as the experiment's evaluation did, and calls `done` after each.

    A test car's are those of all its models together, a validation car's those of the one that was not trained on it.
    Threshold, flip and scales are the experiment's, everything else is as `how` says. Raises UserError if a file of the
    experiment is not in DVC's cache.
    """
    used = experiment.params
    # Experiments of earlier versions have no scales.
    scales = tuple(used.get("predict.scales", (1.0,)))
    how = replace(how, threshold=used["predict.threshold"], flip=used["predict.flip"], scales=scales)
    roles = split.read(experiment.file(paths.SPLIT), [name for _, name in photos])
    trained = {
        str(fold): checkpoint.load(experiment.file(paths.model(fold))) for fold in experiment.params["train.folds"]
    }
    found: dict[Photo, Runs] = {}
    train = experiment.file(paths.TRAIN)
    for part in sorted({roles[car_of(name)] for _, name in photos}):
        models = list(trained.values()) if part == split.TEST else [trained[part]]
        wanted = {name: (role, name) for role, name in photos if roles[car_of(name)] == part}
        for outcome in predict(Ensemble(models, how.flip, how.scales), train, wanted, how):
            if isinstance(outcome, Damaged):
                raise outcome.reason
            found[wanted[outcome.photo]] = outcome.runs
            done()
    return found


def draw(
    experiment: Experiment, masks: tuple[dict[Photo, Runs], dict[Photo, Runs]], names: tuple[str, str]
) -> dict[Photo, dict[str, Picture]]:
    """Returns the pictures of every photo, by what they show; `masks` and `names` are those of both sides.

    Photos and true masks are the experiment's.
    """
    one, other = masks
    drawn = {}
    with (
        Archive(experiment.file(paths.TRAIN)) as archive,
        Archive(experiment.file(paths.TRAIN_MASKS)) as true_masks,
    ):
        for photo, runs in one.items():
            pixels = simplejpeg.decode_jpeg(archive.read(photo[1]), "RGB")
            true = decode_mask(true_masks.read(mask_of(photo[1])), photo[1])
            shown = side_by_side(pixels, runs, other[photo], to_runs(true))
            texts = [*names, f"{names[0]}, where they differ most", f"{names[1]}, the same place"]
            drawn[photo] = dict(zip(texts, map(Picture.of, shown), strict=True))
    return drawn


def side_by_side(photo: Pixels, one: Runs, other: Runs, true: Runs) -> list[Pixels]:
    """Returns four tiles RGB uint8 [256, 384, 3]: the mistakes of two predictions, and where they differ most.

    `photo` is RGB uint8 [1280, 1918, 3]. A frame in the first two marks the place of the other two, which are at the
    photo's full resolution.
    """
    first, second, mask = (to_mask(runs, HEIGHT, WIDTH) for runs in (one, other, true))
    spot = pictures.worst_spot(wrong_pixels.find(one, other, second).places)
    box, small = pictures.at(spot), pictures.shrunk(photo)
    whole = [pictures.framed(pictures.show_mistakes(small, guess, mask), spot) for guess in (first, second)]
    return whole + [pictures.show_mistakes(photo[box], guess[box], mask[box]) for guess in (first, second)]
