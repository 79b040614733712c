"""The file that a killed training resumes from: its whole state after an epoch."""

import pickle
from pathlib import Path
from typing import Any

import torch

from carvana.errors import first_line
from carvana.files import whole_file


def save(path: Path, state: dict[str, Any]) -> None:
    """Writes a state of tensors and plain values, completely or not at all."""
    with whole_file(path) as temporary:
        torch.save(state, temporary)


def load(path: Path) -> dict[str, Any] | None:
    """Returns a file's state; None if the file is missing or, with a message, if it cannot be read."""
    try:
        # weights_only: the unpickler creates only tensors and plain containers, and runs no code from the file.
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        print(f"{path} cannot be read ({first_line(error)}); training starts over")
        return None
