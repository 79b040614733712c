"""Model files: weights as safetensors, with the network's parameters, its size and a checksum in the header."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ConfigDict, TypeAdapter
from safetensors import safe_open
from safetensors.torch import save as serialize
from torch import Tensor

from carvana.base.errors import UserError, reading
from carvana.base.files import whole_file
from carvana.base.params import Network, Size
from carvana.networks import models

FORMAT = "carvana-2"
_SIZE = TypeAdapter(Size, config=ConfigDict(strict=True))


@dataclass(frozen=True)
class Trained:
    """A model, the size (height, width) of the photos that it was trained on, and its network."""

    model: models.Model
    size: tuple[int, int]
    network: Network

    def __reduce__(self) -> tuple[Any, ...]:
        # Models have classes that are made as they are built, which pickle cannot find.
        return _trained, (self.network, self.size, self.model.state_dict())


def save(path: Path, model: models.Model, network: Network, size: tuple[int, int]) -> None:
    """Writes the weights, and in the header the network's parameters, `size` (height, width) and a checksum of all."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    description: dict[str, object] = {"network": network.model_dump(), "size": size}
    # A single key: safetensors writes several in random order, and files of equal models would differ.
    header = {FORMAT: json.dumps(description | {"sha256": _checksum(description, weights)})}
    with whole_file(path) as temporary:
        temporary.write_bytes(serialize(weights, metadata=header))


def load(path: Path) -> Trained:
    """Returns a file's model in evaluation mode. Raises UserError if it is not a complete model of this pipeline."""
    with reading(path, "is not a complete model", "`dvc repro -f train` makes it again", "`dvc repro train` makes it"):
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if FORMAT not in header:
                raise UserError(f"{path} is not a model of this pipeline; `dvc repro train` makes one")
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
        content = json.loads(header[FORMAT])
        if content.pop("sha256", None) != _checksum(content, weights):
            raise ValueError("its content does not match its checksum")
        if content.keys() != {"network", "size"}:
            raise ValueError(f"its header has {', '.join(content)}")
        network, size = Network.model_validate(content["network"]), _SIZE.validate_python(content["size"])
        return _trained(network, size, weights)


def _checksum(description: Mapping[str, object], weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _trained(network: Network, size: tuple[int, int], weights: Mapping[str, Tensor]) -> Trained:
    if network.encoder == models.NONE:
        # On meta, where a large network takes no memory.
        with torch.device("meta"):
            wanted = models.build(network).state_dict()
        if _shapes(weights) != _shapes(wanted):
            raise ValueError("its weights are not those of its network")
    model = models.build(network)
    model.load_state_dict(weights)
    return Trained(model.eval(), size, network)


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: each.shape for name, each in weights.items()}
