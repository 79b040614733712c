"""Writes the model as one file for other programs: `carvana export --format onnx --out exported`.

The folder must not exist yet; docs/export.md shows how to use the model. It is the mean of those of train.folds in
models/, with predict.flip and predict.scales; it takes uint8 photos at the model's size, and returns logits.
"""

import argparse
from pathlib import Path

from carvana.base import files, params, paths
from carvana.base.console import say
from carvana.base.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = ["onnx", "openvino"]
    parser.add_argument("--format", dest="kind", choices=kinds, required=True, help="what the other program reads")
    parser.add_argument("--out", type=Path, required=True, help="the folder for the model")


def main(kind: str, out: Path) -> None:
    if out.exists():
        raise UserError(f"{out} is there already; choose another folder with --out, or remove it")

    from carvana.masks.fullsize import level_of
    from carvana.networks import models
    from carvana.prediction import export
    from carvana.prediction.inference import Ensemble

    settings = params.load(paths.PARAMS)
    trained = map(paths.model, settings.train.folds)
    ensemble = Ensemble.load(trained, settings.predict.flip, settings.predict.scales)
    network = models.describe(settings.train.network, models.count_parameters(ensemble), ensemble.sizes)
    say(f"Converting to {kind}: {network}")
    with files.whole_folder(out) as folder:
        path = export.write(ensemble, kind, folder)
        difference = export.require_equal(path, ensemble)
    level = level_of(settings.predict.threshold)
    print(f"{out / path.name} differs from torch by at most {difference:.1g}; a logit above {level:.3g} is car")
