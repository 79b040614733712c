"""Writes the model as one file for other programs: `carvana export --format onnx --out exported`.

The folder, which must not exist yet, gets the model and a README.md that says what it is; docs/export.md shows how to
use it. The model is the mean of those of train.folds in models/, with predict.flip and predict.scales; it takes uint8
photos at the model's size, and returns logits.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from carvana.base import files, lockfile, params, paths
from carvana.base.console import say
from carvana.base.errors import UserError, reading
from carvana.kaggle import provenance

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from carvana.base.params import Params
    from carvana.data.archive import Archive
    from carvana.prediction.inference import Ensemble

_PHOTOS = 5  # that the written model is compared with torch on

_README = """# {file}: where the car is in a photo

| | name | type | shape | values |
|---|---|---|---|---|
| input | `photos` | uint8 | [n, {height}, {width}, 3], any n | RGB, 0–255 |
| output | `logits` | float32 | [n, {height}, {width}] | above {level:.4g} is car; the sigmoid is its probability |

{facts}

docs/export.md of the project leads from a photo to its mask.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format",
        dest="kind",
        choices=["onnx", "openvino"],
        required=True,
        help="what the other program reads",
    )
    parser.add_argument("--out", type=Path, required=True, help="the folder for the model and its README.md")


def main(kind: str, out: Path) -> None:
    if out.exists():
        raise UserError(f"{out} is there already; choose another folder with --out, or remove it")

    from carvana.data.archive import Archive
    from carvana.prediction import export
    from carvana.prediction.inference import Ensemble

    settings = params.load(paths.PARAMS)
    models = map(paths.model, settings.train.folds)
    ensemble = Ensemble.load(models, settings.predict.flip, settings.predict.scales)
    network = describe(ensemble)
    with Archive(paths.TEST) as archive:
        photos = read_photos(archive, ensemble.size)
    say(f"Converting to {kind}: {network}")
    with files.whole_folder(out) as folder:
        path = export.write(ensemble, kind, folder)
        difference = export.require_equal(path, ensemble, photos)
        level = math.log(settings.predict.threshold / (1 - settings.predict.threshold))
        equal = f"Compared with torch in float32, its logits differ by at most {difference:.1g}."
        facts = "\n".join(f"- {fact}" for fact in (f"It is {network}.", *history(settings), equal))
        height, width = ensemble.size
        text = _README.format(file=path.name, height=height, width=width, level=level, facts=facts)
        (folder / "README.md").write_text(text, encoding="utf-8")
    print(f"{out / path.name} differs from torch by at most {difference:.1g}; {out / 'README.md'} says more")


def describe(ensemble: Ensemble) -> str:
    """Returns what is exported: `1 model, 487,348 parameters, at 256×256`."""
    from carvana.networks import models

    count = len(ensemble.models)
    averaged = "1 model" if count == 1 else f"mean of {count} models"
    mirrored = ", mean of the photo and its mirror image" if ensemble.flip else ""
    scales = f", mean of {len(ensemble.sizes)} scales" if len(ensemble.sizes) > 1 else ""
    height, width = ensemble.size
    return f"{averaged}, {models.count_parameters(ensemble):,} parameters, at {height}×{width}{mirrored}{scales}"


def read_photos(archive: Archive, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Returns the first photos of a zip, uint8 [n, height, width, 3], at `size` = (height, width)."""
    import numpy as np

    from carvana.data.photos import decode_photo

    return np.stack([decode_photo(archive.read(name), name, size) for name in archive.photos[:_PHOTOS]])


def history(settings: Params) -> list[str]:
    """Returns sentences for the README: the Dice of the models, and the commit that has them."""
    if not is_evaluated(settings):
        return [f"Its Dice is not known: {paths.EVALUATION} is missing or of another state; `dvc repro` makes it."]
    with reading(paths.EVALUATION, "cannot be read", "`dvc repro` makes it again"):
        evaluation = json.loads(paths.EVALUATION.read_text(encoding="utf-8"))
        sentences = [
            f"Dice at 1918×1280 on {scores['images']} photos of unseen {role} cars: {scores['dice']:.4f} "
            f"(worst {scores['dice_worst']:.4f})."
            for role, scores in sorted(evaluation.items())
            if "dice" in scores
        ]
    try:
        return [*sentences, f"Commit: {provenance.find(paths.LOCK).commit}."]
    except UserError:
        return [*sentences, "Commit: none has this model yet."]


def is_evaluated(settings: Params) -> bool:
    """Returns whether dvc.lock records models, folds, flip and Dice as they are now."""
    try:
        evaluate = lockfile.read(paths.LOCK)["evaluate"]
    except (UserError, KeyError):
        return False
    recorded = [(paths.MODELS, evaluate.deps), (paths.EVALUATION, evaluate.outs)]
    files_are_same = all(path.exists() and md5s.get(str(path)) == lockfile.md5_of(path) for path, md5s in recorded)
    how = [evaluate.params.get(name) for name in ("train.folds", "predict.flip", "predict.scales")]
    wanted = [list(settings.train.folds), settings.predict.flip, list(settings.predict.scales)]
    return files_are_same and how == wanted
