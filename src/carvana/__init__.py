"""Library of the Carvana pipeline: plain functions without a command line.

`carvana.load` and `carvana.read_photo` lead from a photo to a mask. The rooms beside this file have everything else;
`stages/` calls them for DVC.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from carvana.cutouts.predictor import Predictor

# Imports are in the functions: the rooms import torch, which takes seconds.


def load(*files: str | Path, flip: bool = False, scales: Sequence[float] = (1.0,), device: str = "auto") -> Predictor:
    """Returns the model of some files, whose `mask(photo)` finds the car.

    Args:
        files: trained models (`models/fold-0.safetensors`), whose logits are averaged.
        flip: average the logits with those of the mirrored photo.
        scales: average the logits over the photo at these multiples of the models' training size.
        device: `cpu`, `cuda`, `cuda:1`, `mps`, or `auto`, a GPU if there is one.

    Raises UserError if a file cannot be used, or the device is not available.
    """
    from carvana.cutouts import predictor  # noqa: PLC0415

    return predictor.load([Path(file) for file in files], flip, scales, device)


def read_photo(path: str | Path) -> NDArray[np.uint8]:
    """Returns the photo of a file, RGB uint8 [height, width, 3], turned as its EXIF says, on white if transparent.

    Its colours are converted to sRGB, those of the training photos. Raises UserError if the file is no photo.
    """
    from carvana.data import any_photo  # noqa: PLC0415

    return any_photo.read(Path(path))
