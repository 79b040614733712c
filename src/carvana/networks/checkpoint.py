"""Model files: weights as safetensors, with the network's parameters and size in the header."""

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize

from carvana.errors import UserError
from carvana.files import whole_file
from carvana.networks import models
from carvana.params import Network

FORMAT = "carvana-1"


@dataclass(frozen=True)
class Trained:
    """A model, and the photo size (height, width) that it was trained at."""

    model: models.Model
    size: tuple[int, int]


def save(path: Path, model: models.Model, network: Network, size: tuple[int, int]) -> None:
    """Writes the model's weights, with the network's parameters and `size` (height, width) in the header."""
    # A single key: safetensors writes several in random order, and files of equal models would differ.
    header = {FORMAT: json.dumps({"network": network.model_dump(), "size": size})}
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with whole_file(path) as temporary:
        temporary.write_bytes(serialize(weights, metadata=header))


def load(path: Path) -> Trained:
    """Returns a file's model in evaluation mode. Raises UserError if it is not a complete model of this pipeline."""
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if FORMAT not in header:
                raise UserError(f"{path} is not a model of this pipeline; `dvc repro train` makes one")
            description = json.loads(header[FORMAT])
            network = Network.model_validate(description["network"])
            height, width = description["size"]
            model = models.build(network)
            model.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 - no dict
    except FileNotFoundError:
        raise UserError(f"{path} is missing; `dvc repro train` makes it") from None
    except (SafetensorError, KeyError, ValueError, RuntimeError, ValidationError) as error:
        raise UserError(f"{path} is not a complete model ({error}); `dvc repro -f train` makes it again") from error
    return Trained(model.eval(), (height, width))
