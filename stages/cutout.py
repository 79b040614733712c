"""Cars cut out of one's own photos: `python -m stages.cutout PHOTOS --out FOLDER`.

PHOTOS is a photo, a folder with its sub-folders, or a zip. The models are those of params.yaml, the newest in models/.
What is there already is not made again, unless models or options are others.
"""

import argparse
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from carvana import cutout, engines, params, paths, resume
from carvana.errors import UserError, some
from carvana.predict import Ensemble, Settings
from carvana.work import write_json
from stages.stage import run


def main(source: Path, out: Path, background: str, kind: str, masks: bool) -> None:
    settings = params.load(paths.PARAMS)
    models = [paths.model(fold) for fold in settings.train.folds]
    ensemble, how = Ensemble.load(models), Settings.of(settings)
    behind = cutout.read_background(background)
    options = {"background": background, "flip": how.flip, "kind": kind, "masks": masks}
    since = begin(out, options | {"models": [resume.digest(path) for path in models]})
    with cutout.opened(source) as photos, engines.one_core_a_thread():
        targets = cutout.targets(photos.names, out, f".{kind}")
        todo = [name for name in photos.names if not done(targets[name], since)]
        if not todo:
            print(f"{out} has all of them")
            return
        compute = engines.on_device(ensemble.flipping(how.flip), ensemble.size, how.engine, how.workers, how.on)

        def cut(name: PurePosixPath) -> str | None:
            try:
                photo = cutout.read_photo(photos.read(name), str(name))
            except UserError as error:
                return str(error)
            alpha = cutout.alpha_of(photo, ensemble.size, compute)
            if masks:
                cutout.save(targets[name].with_name(targets[name].stem + cutout.MASK), alpha)
            # Last, since it says that the photo is done.
            cutout.save(targets[name], cutout.compose(photo, alpha, behind))
            return None

        bad = in_threads(cut, todo, len(photos.names), engines.threads(how.engine, how.workers))
    if bad:
        raise UserError(f"{len(bad)} photos cannot be read, all others are done: {some(bad, 20)}")


def begin(out: Path, options: dict[str, object]) -> int:
    """Notes the options in the folder, where they are others than before; when that was, as the disk has it."""
    note = out / ".cutout.json"
    if not note.exists() or json.loads(note.read_text(encoding="utf-8")) != options:
        write_json(note, options)
    return note.stat().st_mtime_ns


def done(target: Path, since: int) -> bool:
    """Whether a cut-out is there, and made with these options: one from before them may have outlived a kill."""
    return target.exists() and target.stat().st_mtime_ns >= since


def in_threads(
    work: Callable[[PurePosixPath], str | None], names: list[PurePosixPath], total: int, threads: int
) -> list[str]:
    """Does the work of every name, and gives the complaints."""
    with ThreadPoolExecutor(threads) as pool:
        try:
            results = tqdm(
                pool.map(work, names),
                total=total,
                initial=total - len(names),
                desc="cutout",
                unit=" photos",
                disable=None,
            )
            return [complaint for complaint in results if complaint]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("photos", type=Path, help="a photo, a folder with its sub-folders, or a zip")
    parser.add_argument("--out", type=Path, required=True, help="the folder for the cut-outs, sub-folders kept")
    parser.add_argument("--background", default="none", help="none, a colour (white, #204060), or a picture's path")
    parser.add_argument("--format", choices=["png", "webp"], default="png", help="of the cut-outs")
    parser.add_argument("--masks", action="store_true", help="the soft masks, too, as …_mask.png")
    arguments = parser.parse_args()
    run(
        lambda: main(arguments.photos, arguments.out, arguments.background, arguments.format, arguments.masks),
        "cutout",
    )
