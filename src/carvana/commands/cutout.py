"""Cuts cars out of your own photos: `carvana cutout car.jpg my-photos --out cut --background white`.

It takes photos, and folders with their sub-folders. The models are those of train.folds in models/, or --model, which
works outside of a clone, too. A cut-out is made again if its photo, the models or the options have changed.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from carvana.base import files, params, paths
from carvana.base.console import Bar, duration
from carvana.base.errors import UserError, some
from carvana.base.processes import cores

if TYPE_CHECKING:
    from collections.abc import Callable

    from carvana.cutouts.jobs import Job
    from carvana.prediction.settings import Settings

# Photos of more pixels are worked on one at a time. Measured peaks are 8 to 10 bytes a pixel for PNG, 17 if the photo
# is a WebP, and 27 while libwebp writes one.
LARGE = 24_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sources", type=Path, nargs="+", help="photos, and folders with their sub-folders")
    parser.add_argument("--out", type=Path, required=True, help="the folder for the cut-outs, sub-folders kept")
    parser.add_argument("--background", default="none", help="none, a colour (white, #204060), or a picture's path")
    parser.add_argument("--format", dest="kind", choices=["png", "webp"], default="png", help="format of the cut-outs")
    crop = "crop to the car and a margin, in percent of its longer side (5 if not given); after the photos"
    parser.add_argument("--crop", dest="margin", type=float, nargs="?", const=5.0, metavar="MARGIN", help=crop)
    parser.add_argument("--masks", action="store_true", help="write the soft masks as well, as …_mask.png")
    parser.add_argument("--model", type=Path, help="a model of another place, .safetensors")


def needs_clone(model: Path | None, **_: object) -> bool:
    """Returns whether the command reads a clone: its models, and how it predicts with them."""
    return model is None


def main(
    sources: list[Path], out: Path, background: str, kind: str, masks: bool, margin: float | None, model: Path | None
) -> None:
    from carvana.cutouts import cutout, jobs
    from carvana.data.any_photo import KINDS
    from carvana.prediction import engines
    from carvana.prediction.inference import Ensemble

    if margin is not None and not 0 <= margin <= 100:
        raise UserError(f"--crop {margin} is no margin from 0 to 100 percent")
    if out.is_file():
        raise UserError(f"{out} is a file; --out takes a folder")
    photos, skipped = jobs.find(sources, out)
    if skipped:
        advice = f"only {KINDS} are supported; convert other pictures to JPEG first"
        print(f"skipped: {some(skipped, 20)}; {advice}", file=sys.stderr)
    behind = cutout.read_background(background)
    how, models = settings_and_models(model)
    ensemble = Ensemble.load(models, how.flip, how.scales)
    read = [*models, Path(background)]
    options = repr((background, margin, how.flip, how.scales, [files.digest(path) for path in read if path.is_file()]))
    wanted = jobs.plan(photos, out, f".{kind}", masks, options)
    with files.only_writer(out, ".cutout", patience=0), engines.one_core_a_thread():
        todo = jobs.missing(wanted)
        if not todo:
            print(f"cut-outs in {out}: all {len(wanted)} were there already", flush=True)
            return
        engine = engines.build(ensemble, ensemble.size, how)
        work = partial(cutout.cut_file, size=ensemble.size, compute=engine.compute, behind=behind, margin=margin)
        began = time.perf_counter()
        empty, bad = in_threads(work, todo, engine.threads)
    made, seconds = len(todo) - len(bad), time.perf_counter() - began
    speed = f"{duration(seconds)} ({made / seconds:.1f} photos/s)"
    print(f"cut-outs in {out}: {made} made in {speed}, {len(wanted) - len(todo)} were there already", flush=True)
    if empty:
        print("no car found in:", *empty, sep="\n  ", flush=True)
    if bad:
        raise UserError("\n  ".join(["all photos are cut out but these:", *bad]))


def settings_and_models(model: Path | None) -> tuple[Settings, list[Path]]:
    """Returns how to predict, and the files of the models; outside of a clone at one scale and without a flip."""
    from carvana.devices import device
    from carvana.prediction.settings import Settings, choose_engine

    if model and not paths.PARAMS.exists():
        return Settings(0.5, False, (1.0,), device.pick("auto"), choose_engine("auto"), cores(), batch_size=1), [model]
    settings = params.load(paths.PARAMS)
    if not model and settings.data.source == "demo":
        print("the models of this clone were trained on the demo's rendered cars (data.source: demo)", file=sys.stderr)
    return Settings.of(settings), [model] if model else [paths.model(fold) for fold in settings.train.folds]


def in_threads(work: Callable[[Job], bool], todo: list[Job], threads: int) -> tuple[list[str], list[str]]:
    """Cuts out photos; returns the names of those without a car, and complaints about those that cannot be cut out."""
    from carvana.data import any_photo

    alone = threading.Lock()

    def with_room(job: Job) -> bool:
        with alone if any_photo.count_pixels(job.photo) > LARGE else contextlib.nullcontext():
            return work(job)

    empty: list[str] = []
    bad: list[str] = []
    pool = ThreadPoolExecutor(threads)
    try:
        futures = [pool.submit(with_room, job) for job in todo]
        with Bar(total=len(todo), desc="cutout", unit=" photos") as bar:
            for job, future in zip(todo, futures, strict=True):
                try:
                    if not future.result():
                        empty.append(str(job.photo))
                except UserError as error:
                    bad.append(str(error))
                bar.update()
    finally:
        # Ctrl-C does not wait for the photos in progress: a large one takes 20 seconds.
        pool.shutdown(wait=False, cancel_futures=True)
    return empty, bad
