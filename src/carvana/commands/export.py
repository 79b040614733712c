"""Writes the model as one file for other programs: `carvana export --format onnx --out exported`.

The folder must not exist yet; docs/export.md shows how to use the model. It is the mean of those of train.folds in
models/, with predict.flip and predict.scales; it takes uint8 photos at the model's size, and returns logits.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from carvana.base import files, params, paths
from carvana.base.console import say
from carvana.base.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from carvana.data.archive import Archive

_PHOTOS = 5  # that the written model is compared with torch on


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = ["onnx", "openvino"]
    parser.add_argument("--format", dest="kind", choices=kinds, required=True, help="what the other program reads")
    parser.add_argument("--out", type=Path, required=True, help="the folder for the model")


def main(kind: str, out: Path) -> None:
    if out.exists():
        raise UserError(f"{out} is there already; choose another folder with --out, or remove it")

    from carvana.data.archive import Archive
    from carvana.networks import models
    from carvana.prediction import export
    from carvana.prediction.inference import Ensemble

    settings = params.load(paths.PARAMS)
    trained = map(paths.model, settings.train.folds)
    ensemble = Ensemble.load(trained, settings.predict.flip, settings.predict.scales)
    network = models.describe(settings.train.network, models.count_parameters(ensemble), ensemble.sizes)
    with Archive(paths.TEST) as archive:
        photos = read_photos(archive, ensemble.size)
    say(f"Converting to {kind}: {network}")
    with files.whole_folder(out) as folder:
        path = export.write(ensemble, kind, folder)
        difference = export.require_equal(path, ensemble, photos)
    level = math.log(settings.predict.threshold / (1 - settings.predict.threshold))
    print(f"{out / path.name} differs from torch by at most {difference:.1g}; a logit above {level:.3g} is car")


def read_photos(archive: Archive, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Returns the first photos of a zip, uint8 [n, height, width, 3], at `size` = (height, width)."""
    import numpy as np

    from carvana.data.photos import decode_photo

    return np.stack([decode_photo(archive.read(name), name, size) for name in archive.photos[:_PHOTOS]])
