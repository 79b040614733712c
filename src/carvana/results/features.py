"""Feature maps: the output of every level of a network for one photo."""

import contextlib
import functools
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from carvana.base import paths
from carvana.base.errors import UserError
from carvana.competition import HEIGHT, WIDTH
from carvana.data import any_photo
from carvana.data.archive import Archive
from carvana.data.photos import decode_photo, resize_by_area
from carvana.networks.models import Model
from carvana.results.pictures import Pixels, label, mosaic

Maps = NDArray[np.float32]

_SHEET = 1200  # pixels across
_SHOWN = 640  # pixels across, of the photo on the page


def read(photo: str, size: tuple[int, int]) -> tuple[Pixels, Pixels]:
    """Returns the photo of a file, or Kaggle's of that name, at the network's `size` and as it is to be shown.

    Raises UserError if there is none.
    """
    if Path(photo).is_file():
        pixels = any_photo.read(Path(photo))
        shown = (max(round(_SHOWN * pixels.shape[0] / pixels.shape[1]), 1), _SHOWN)
        return resize_by_area(pixels, size), resize_by_area(pixels, shown)
    for path in (paths.TRAIN, paths.TEST):
        with Archive(path) as archive:
            if photo in archive.photos:
                data = archive.read(photo)
                return decode_photo(data, photo, size), decode_photo(data, photo, (_SHOWN * HEIGHT // WIDTH, _SHOWN))
    raise UserError(f"{photo} is neither a file nor a photo in {paths.TRAIN} or {paths.TEST}")


def levels(model: Model, photo: NDArray[np.uint8]) -> dict[str, Maps]:
    """Returns every level of encoder and decoder, and the logits, as float32 [channels, height, width], by module name.

    `photo` is uint8 [height, width, 3] at the network's size. A level is the last output at its resolution: this holds
    for the slides' U-Net and for the networks of segmentation-models-pytorch, whose encoders return a list of levels.
    """
    found: dict[tuple[str, tuple[int, ...]], tuple[str, Maps]] = {}

    def see(name: str, _module: nn.Module, _given: object, output: Tensor | list[Tensor]) -> None:
        outputs = {name: output}
        if isinstance(output, list | tuple):
            outputs = {f"{name}[{number}]": each for number, each in enumerate(output)}
        for key, each in outputs.items():
            if isinstance(each, Tensor) and each.ndim == 4:
                # A copy: the next module may be a ReLU that works in place.
                maps = each[0].float().cpu().numpy().copy()
                level = name.split(".")[:2][-1], maps.shape[1:]
                # Removed first, because an entry that is replaced would keep its place and break the running order.
                found.pop(level, None)
                found[level] = key, maps

    with contextlib.ExitStack() as hooks, torch.inference_mode():
        for name, module in model.named_modules():
            is_part = name.startswith(("network.encoder", "network.decoder")) and not isinstance(module, nn.Identity)
            if is_part or module is model.network:
                hooks.callback(module.register_forward_hook(functools.partial(see, name)).remove)
        model.eval()(torch.from_numpy(photo)[None])
    return dict(found.values())


def sheet(maps: Maps, shape: tuple[int, int]) -> Pixels:
    """Returns a grid of all channels, RGB uint8, each scaled from its lowest value (dark) to its highest (bright).

    `shape` is the photo's (height, width); the tiles have its proportions. A constant channel is dark all over.
    """
    columns = next(count for count in (1, 2, 4, 8, 16) if count == 16 or len(maps) <= count**2)
    width = _SHEET // columns
    size = (width, max(round(width * shape[0] / shape[1]), 1))
    tiles = []
    for number, channel in enumerate(maps):
        # Percentiles, not extremes: one pixel at the border would make all others grey.
        low, high = np.percentile(channel, (0.5, 99.5))
        scaled = np.clip((channel - low) / max(high - low, 1e-6), 0, 1)
        pixels = cv2.resize(np.rint(scaled * 255).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        colours = cv2.cvtColor(cv2.applyColorMap(pixels, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)
        tiles.append(label(colours, str(number)) if columns <= 8 else colours)
    return mosaic(tiles, columns)


def describe(maps: Maps) -> str:
    """Returns the shape of feature maps and the range of their values in words."""
    channels, height, width = maps.shape
    count = f"{channels} channel{'s' if channels > 1 else ''}"
    return f"{count} of {height}×{width}, values from {maps.min():.3g} to {maps.max():.3g}"
