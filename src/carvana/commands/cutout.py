"""Cuts cars out of your own photos: `carvana cutout car.jpg my-photos --out cut --background white`.

It takes photos, folders with their sub-folders, and zips. The models are those of train.folds in models/, or --model.
Existing cut-outs are not made again unless models or options have changed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from carvana.base import files, params, paths
from carvana.base.console import Bar, duration
from carvana.base.errors import UserError, some

if TYPE_CHECKING:
    from carvana.cutouts.outputs import Job
    from carvana.cutouts.photo_pixels import Pixels
    from carvana.prediction.engines import Engine

# Measured peaks: 8 to 10 bytes a pixel for PNG, 17 if the photo is a WebP, and 27 while libwebp writes one.
BYTES_A_PIXEL = {"png": 17, "webp": 27}

# Enough for photos of 29 megapixels on all threads at once. Larger ones wait for each other; the largest takes 3.2 GB.
BYTES_A_THREAD = 500_000_000

_SHOWN = 20  # names in a message


@dataclass(frozen=True)
class Outcome:
    """The result for a photo: a complaint if it cannot be cut out, otherwise whether a car was found in it."""

    where: str
    complaint: str | None = None
    has_car: bool = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sources", type=Path, nargs="+", help="photos, folders with their sub-folders, and zips")
    parser.add_argument("--out", type=Path, required=True, help="the folder for the cut-outs, sub-folders kept")
    parser.add_argument("--background", default="none", help="none, a colour (white, #204060), or a picture's path")
    parser.add_argument("--format", dest="kind", choices=["png", "webp"], default="png", help="format of the cut-outs")
    parser.add_argument(
        "--crop",
        dest="margin",
        type=margin_of,
        nargs="?",
        const=5.0,
        metavar="MARGIN",
        help="crop to the car and a margin around it, in percent of its longer side (5 if not given)",
    )
    parser.add_argument("--masks", action="store_true", help="write the soft masks as well, as …_mask.png")
    parser.add_argument("--model", type=Path, help="a model of another place: .safetensors, .onnx or OpenVINO's .xml")


def main(
    sources: list[Path], out: Path, background: str, kind: str, masks: bool, margin: float | None, model: Path | None
) -> None:
    from carvana.cutouts import cutout, outputs, photo_files
    from carvana.prediction import engines, model_files
    from carvana.prediction.settings import Settings

    settings = params.load(paths.PARAMS)
    how, models = Settings.of(settings), [model] if model else [paths.model(fold) for fold in settings.train.folds]
    behind = cutout.read_background(background)
    with photo_files.opened(sources, out) as found, engines.one_core_a_thread():
        jobs = outputs.plan(found.photos, out, f".{kind}", masks)
        read = [*sources, Path(background), *(photo.path for photo in found.photos if photo.path)]
        outputs.refuse_to_overwrite(jobs, read)
        build, size = model_files.load(models, how)
        options = {"background": background, "kind": kind, "masks": masks, "margin": margin}
        options |= {"flip": how.flip, "scales": list(how.scales)}
        since = outputs.begin(out, options | {"models": [files.digest(path) for path in models]}, jobs)
        todo = [job for job in jobs if not outputs.is_done(job, since)]
        outcomes, seconds = [], 0.0
        if todo:
            engine = build()
            work = worker(engine, size, behind, BYTES_A_PIXEL[kind], margin)
            began = time.perf_counter()
            outcomes = in_threads(work, todo, len(jobs), engine.threads)
            seconds = time.perf_counter() - began
    report(out, len(jobs) - len(todo), outcomes, seconds, found.skipped)


def worker(
    engine: Engine, size: tuple[int, int], behind: Pixels | None, bytes_a_pixel: int, margin: float | None
) -> Callable[[Job], Outcome]:
    """Returns a function that cuts out one photo, for threads to call; `size` is the network's (height, width).

    With a margin, cut-outs and masks are cropped to the car; a photo without a car stays whole.
    """
    from carvana.cutouts import cutout, photo_pixels
    from carvana.cutouts.turns import Turns

    turns = Turns(BYTES_A_THREAD * engine.threads)

    def work(job: Job) -> Outcome:
        where = job.photo.where
        try:
            with job.photo.open() as file:
                image = photo_pixels.open_photo(file, where)
                with turns.holding(image.width * image.height * bytes_a_pixel):
                    photo = photo_pixels.decode(image, where)
                    # Frees the memory of libwebp's decoder, which the image owns.
                    del image
                    alpha = cutout.cut(photo, size, engine.compute)
                    has_car = cutout.has_car(alpha)
                    if margin is not None and has_car:
                        photo, alpha = cutout.crop(photo, alpha, margin)
                    if job.mask:
                        cutout.save(job.mask, alpha)
                    # Reusing the name frees the photo's memory while the cut-out is written.
                    photo = cutout.compose(photo, alpha, behind)
                    # Written last, because it marks the photo as done.
                    cutout.save(job.cutout, photo)
                    return Outcome(where, has_car=has_car)
        except UserError as error:
            return Outcome(where, str(error))

    return work


def in_threads(work: Callable[[Job], Outcome], todo: list[Job], total: int, threads: int) -> list[Outcome]:
    """Returns the outcomes of all jobs, in order, and shows its progress."""
    pool = ThreadPoolExecutor(threads)
    try:
        with Bar(total=total, initial=total - len(todo), desc="cutout", unit=" photos") as bar:
            outcomes = []
            for outcome in pool.map(work, todo):
                outcomes.append(outcome)
                bar.update()
            return outcomes
    finally:
        # Ctrl-C does not wait for the photos in progress: a large one takes 20 seconds.
        pool.shutdown(wait=False, cancel_futures=True)


def report(out: Path, there: int, outcomes: list[Outcome], seconds: float, skipped: list[str]) -> None:
    """Prints what was made, in what time, and what was skipped. Raises UserError if a photo could not be cut out."""
    from carvana.cutouts import photo_pixels

    bad = [outcome.complaint for outcome in outcomes if outcome.complaint]
    empty = [outcome.where for outcome in outcomes if not outcome.has_car]
    made = len(outcomes) - len(bad)
    parts = []
    if made:
        parts.append(f"{made} made in {duration(seconds)} ({made / seconds:.1f} photos/s)")
    if there:
        parts.append(f"{there} {'was' if there == 1 else 'were'} there already")
    print(f"{count(there + made, 'cut-out')} in {out}{': ' if parts else ''}{', '.join(parts)}", flush=True)
    if empty:
        print(f"no car found in {count(len(empty), 'photo')}:", *empty, sep="\n  ", flush=True)
    if skipped:
        print(
            f"{count(len(skipped), 'file')} skipped, because only {photo_pixels.KINDS} are supported: "
            f"{some(skipped, _SHOWN)}; convert other pictures to JPEG first",
            file=sys.stderr,
        )
    if bad:
        raise UserError(f"{count(len(bad), 'photo')} could not be cut out, all others are done: {some(bad, _SHOWN)}")


def margin_of(text: str) -> float:
    """Returns a margin in percent; argparse shows the error."""
    try:
        margin = float(text)
    except ValueError:
        margin = -1
    if not 0 <= margin <= 100:
        raise argparse.ArgumentTypeError(f"{text} is no margin from 0 to 100 (percent); name the photos before --crop")
    return margin


def count(number: int, what: str) -> str:
    """Returns `1 photo`, `2 photos`."""
    return f"{number} {what}{'' if number == 1 else 's'}"
