"""Cuts cars out of your own photos: `carvana cutout car.jpg my-photos --out cut --background white`.

It takes photos, folders with their sub-folders, and zips. The models are those of train.folds in models/, or --model,
which works outside of a clone, too. A cut-out is made again if its photo, the models or the options have changed.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from carvana.base import files, params, paths
from carvana.base.console import Bar, duration
from carvana.base.errors import UserError, some

if TYPE_CHECKING:
    from PIL import Image

    from carvana.cutouts.outputs import Job, Record
    from carvana.prediction.engines import Engine
    from carvana.prediction.settings import Settings

# Photos of so many pixels are worked on in all threads at once, and larger ones wait for each other. Measured peaks are
# 8 to 10 bytes a pixel for PNG, 17 if the photo is a WebP, and 27 while libwebp writes one.
PIXELS_A_THREAD = 24_000_000

_SHOWN = 20  # names in a message


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


def needs_clone(model: Path | None, **_: object) -> bool:
    """Returns whether the command reads a clone: its models, and how it predicts with them."""
    return model is None


def main(
    sources: list[Path], out: Path, background: str, kind: str, masks: bool, margin: float | None, model: Path | None
) -> None:
    from carvana.cutouts import cutout, outputs
    from carvana.cutouts.sources import opened
    from carvana.prediction import engines, model_files

    how, models = settings_and_models(model)
    behind = cutout.read_background(background)
    with opened(sources, out) as (photos, skipped), engines.one_core_a_thread():
        jobs = outputs.plan(photos, out, f".{kind}", masks)
        outputs.refuse_to_overwrite(jobs, [Path(background), *(photo.path for photo in photos)])
        build, size = model_files.load(models, how)
        # A model in OpenVINO's format has its weights in a second file.
        read = [*models, *(path.with_suffix(".bin") for path in models if path.suffix == ".xml"), Path(background)]
        options = {"background": background, "masks": masks, "margin": margin, "flip": how.flip}
        options |= {"scales": list(how.scales), "files": [files.digest(path) for path in read if path.is_file()]}
        with outputs.recorded(out, options, jobs) as record:
            todo = record.to_make(jobs)
            there = len(jobs) - len(todo)
            empty: list[str] = []
            bad: list[str] = []
            began = time.perf_counter()
            if todo:
                engine = build()
                began = time.perf_counter()
                empty, bad = in_threads(worker(engine, size, behind, margin), todo, there, engine.threads, record)
            seconds = time.perf_counter() - began
    made = len(todo) - len(bad)
    parts = [f"{made} made in {duration(seconds)} ({made / seconds:.1f} photos/s)"] if made else []
    parts += [f"{there} {'was' if there == 1 else 'were'} there already"] if there else []
    print(f"{count(there + made, 'cut-out')} in {out}{': ' if parts else ''}{', '.join(parts)}", flush=True)
    complain(empty, skipped, bad)


def settings_and_models(model: Path | None) -> tuple[Settings, list[Path]]:
    """Returns how to predict, and the files of the models; outside of a clone at one scale and without a flip."""
    from carvana.cutouts import predictor
    from carvana.prediction.settings import Settings

    if model and not paths.PARAMS.exists():
        return predictor.settings(), [model]
    settings = params.load(paths.PARAMS)
    return Settings.of(settings), [model] if model else [paths.model(fold) for fold in settings.train.folds]


def worker(
    engine: Engine, size: tuple[int, int], behind: Image.Image | None, margin: float | None
) -> Callable[[Job], bool]:
    """Returns a function that cuts out a photo, for threads to call, and returns whether there is a car in the photo.

    `size` is the network's (height, width). With a margin, cut-outs and masks are cropped to the car; a photo without a
    car stays whole. The function raises UserError if a photo cannot be cut out.
    """
    from PIL import Image

    from carvana.cutouts import cutout
    from carvana.data import any_photo

    shares, next_in_line = threading.Semaphore(engine.threads), threading.Lock()

    @contextlib.contextmanager
    def memory(pixels: int) -> Iterator[None]:
        wanted = min(math.ceil(pixels / PIXELS_A_THREAD), engine.threads)
        # One thread at a time, or two large photos could each hold what the other one waits for.
        with next_in_line:
            for _ in range(wanted):
                shares.acquire()
        try:
            yield
        finally:
            shares.release(wanted)

    def work(job: Job) -> bool:
        with job.photo.open() as file, memory(any_photo.count_pixels(file, job.photo.where)):
            photo = any_photo.read_rgba(file, job.photo.where)
            alpha = cutout.cut(photo, size, engine.compute)
            has_car = cutout.has_car(alpha)
            if margin is not None and has_car:
                photo, alpha = cutout.crop(photo, alpha, margin)
            if job.mask:
                cutout.save(job.mask, Image.fromarray(alpha))
            picture = cutout.compose(photo, alpha, behind)
            # Frees the photo's memory while a picture with a background is written.
            del photo
            cutout.save(job.cutout, picture)
            return has_car

    return work


def in_threads(
    work: Callable[[Job], bool], todo: list[Job], there: int, threads: int, record: Record
) -> tuple[list[str], list[str]]:
    """Returns the names of the photos without a car, and complaints about those that cannot be cut out.

    Records every photo that is cut out, and shows the progress; `there` cut-outs are there already.
    """
    empty, bad = [], []
    pool = ThreadPoolExecutor(threads)
    try:
        futures = [pool.submit(work, job) for job in todo]
        with Bar(total=there + len(todo), initial=there, desc="cutout", unit=" photos") as bar:
            for job, future in zip(todo, futures, strict=True):
                try:
                    if not future.result():
                        empty.append(job.photo.where)
                    record.add(job)
                except UserError as error:
                    bad.append(str(error))
                bar.update()
    finally:
        # Ctrl-C does not wait for the photos in progress: a large one takes 20 seconds.
        pool.shutdown(wait=False, cancel_futures=True)
    return empty, bad


def complain(empty: list[str], skipped: list[str], bad: list[str]) -> None:
    """Prints the photos without a car and the files that are skipped. Raises UserError if a photo cannot be cut out."""
    from carvana.data.any_photo import KINDS

    if empty:
        print(f"no car found in {count(len(empty), 'photo')}:", *empty, sep="\n  ", flush=True)
    if skipped:
        print(
            f"{count(len(skipped), 'file')} skipped, because only {KINDS} are supported: "
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
