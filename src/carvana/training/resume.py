"""The file from which a killed training resumes: its whole state after an epoch, behind a checksum."""

import hashlib
import io
from pathlib import Path
from typing import Any

import torch

from carvana.base.errors import UserError, reading
from carvana.base.files import whole_file

_DIGEST_BYTES = 32  # of SHA-256


def save(path: Path, state: dict[str, Any]) -> None:
    """Writes a state of tensors and plain values, completely or not at all."""
    # To memory first: on a full disk torch.save would raise an error of its own, which does not say so.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    data = buffer.getbuffer()
    with whole_file(path) as temporary, temporary.open("wb") as file:
        file.write(hashlib.sha256(data).digest())
        file.write(data)


def load(path: Path) -> dict[str, Any] | None:
    """Returns a file's state; None if the file is missing or, with a message, if it is damaged."""
    if not path.exists():
        return None
    try:
        with reading(path, "cannot be read", "training starts over"):
            content = path.read_bytes()
            data = memoryview(content)[_DIGEST_BYTES:]
            if hashlib.sha256(data).digest() != content[:_DIGEST_BYTES]:
                raise ValueError("its content does not match its checksum")
            # weights_only: the unpickler creates only tensors and plain containers, and runs no code from the file.
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except UserError as error:
        print(error)
        return None
