"""Model files: weights as safetensors, with the network's parameters, its size and a checksum in the header."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import safe_open
from safetensors.torch import save as serialize
from torch import Tensor

from carvana.base.errors import UserError, reading
from carvana.base.files import whole_file
from carvana.base.params import Network, Size
from carvana.networks import models
from carvana.networks.second_look import SIZE, SecondLook

FORMAT = "carvana-2"
_CHECKSUM = "sha256"
_FIRST = "first."  # begins the names of the first network's weights in a second look
_AGAIN = "`dvc repro -f refine` makes it again"


class _Description(BaseModel):
    """What the header says of the network, and of a second look's if the model has one."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    network: Network
    size: Size
    second_look: Network | None = None


@dataclass(frozen=True)
class Trained:
    """A model, the size (height, width) of the photos that it takes, and its network; with a second look, the first."""

    model: models.Model
    size: tuple[int, int]
    network: Network


def save(
    path: Path, model: models.Model, network: Network, size: tuple[int, int], second_look: Network | None = None
) -> None:
    """Writes the model's weights, with the network's parameters, `size` (height, width) and a checksum in the header.

    For a model with a second look, `network` and `size` are those of the first network. The checksum, `sha256`, is of
    all the others.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    description: dict[str, object] = {"network": network.model_dump(), "size": size}
    if second_look:
        description["second_look"] = second_look.model_dump()
    # A single key: safetensors writes several in random order, and files of equal models would differ.
    header = {FORMAT: json.dumps(description | {_CHECKSUM: _checksum(description, weights)})}
    with whole_file(path) as temporary:
        temporary.write_bytes(serialize(weights, metadata=header))


def load(path: Path) -> Trained:
    """Returns a file's model in evaluation mode. Raises UserError if it is not a complete model of this pipeline."""
    with reading(path, "is not a complete model", _AGAIN, "`dvc repro refine` makes it"):
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if FORMAT not in header:
                raise UserError(f"{path} is not a model of this pipeline; `dvc repro refine` makes one")
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
        content = json.loads(header[FORMAT])
        checksum = content.pop(_CHECKSUM, None)
        if checksum is None:
            raise UserError(f"{path} has no checksum: it is damaged, or by an older version of this project; {_AGAIN}")
        if checksum != _checksum(content, weights):
            raise ValueError("its content does not match its checksum")
        description = _Description.model_validate(content)
        return _with_weights(description, weights)


def _checksum(description: Mapping[str, object], weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _with_weights(description: _Description, weights: dict[str, Tensor]) -> Trained:
    network, size = description.network, description.size
    if description.second_look is None:
        return Trained(_built(network, weights), size, network)
    inside = {name: tensor for name, tensor in weights.items() if name.startswith(_FIRST)}
    _require_weights(weights.keys() - inside.keys(), weights, models.shapes(description.second_look, channels=4))
    first = _built(network, {name.removeprefix(_FIRST): tensor for name, tensor in inside.items()})
    model = models.channels_last(SecondLook(first, size, description.second_look))
    model.load_state_dict(weights)
    return Trained(model.eval(), SIZE, network)


def _built(network: Network, weights: Mapping[str, Tensor]) -> models.Model:
    if network.encoder == models.NONE:
        _require_weights(weights.keys(), weights, models.shapes(network))
    model = models.build(network)
    model.load_state_dict(weights)
    return model.eval()


def _require_weights(names: Iterable[str], weights: Mapping[str, Tensor], expected: Mapping[str, torch.Size]) -> None:
    """Raises ValueError if these weights are not the expected ones, before a large network takes memory for them."""
    if {name: weights[name].shape for name in names} != expected:
        raise ValueError("its weights are not those of its network")
