"""Photos in a zip → decode → networks → logits → run lists at 1918×1280, in flat memory."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from carvana import checkpoint, device, rle
from carvana.archive import Archive
from carvana.errors import UserError
from carvana.fullsize import runs_of_logits
from carvana.params import Params
from carvana.photos import decode_photo

_BATCHES_AHEAD = 2  # decoded while the networks compute


@dataclass(frozen=True)
class Prediction:
    """A photo's name, its logits float32 [height, width] at network size, and its runs at 1918×1280."""

    photo: str
    logits: NDArray[np.float32]
    runs: rle.Runs


@dataclass(frozen=True)
class Settings:
    """How to predict: the threshold on the probability, and the knobs that change speed only."""

    threshold: float
    on: torch.device
    workers: int
    batch_size: int

    @classmethod
    def of(cls, params: Params) -> Self:
        """The settings that the parameters name."""
        runtime = params.runtime
        return cls(params.predict.threshold, device.pick(runtime.device), runtime.workers, runtime.batch_size)


class Ensemble(nn.Module):
    """Networks of one size, whose logits are averaged while a photo is decoded once."""

    def __init__(self, trained: list[checkpoint.Trained]) -> None:
        super().__init__()
        sizes = {each.size for each in trained}
        if len(sizes) > 1:
            raise UserError(f"the models were trained at different sizes ({sorted(sizes)}); train them at one")
        self.size = sizes.pop()
        self.models = nn.ModuleList(each.model for each in trained)

    @classmethod
    def load(cls, paths: Iterable[Path]) -> Self:
        """The models of those files. Raises UserError where one cannot be used."""
        return cls([checkpoint.load(path) for path in paths])

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        """Mean logits float32 [n, height, width] of photos uint8 [n, height, width, 3]."""
        return torch.stack([model(photos) for model in self.models]).mean(dim=0)


def predict(ensemble: Ensemble, archive: Archive, names: list[str], settings: Settings) -> Iterator[Prediction]:
    """Predictions for the photos of those names, in their order."""
    ensemble = ensemble.to(settings.on).eval()
    with ThreadPoolExecutor(max(settings.workers, 1)) as pool:
        try:
            for batch, photos in _decoded(archive, names, ensemble.size, settings.batch_size, pool):
                logits = compute_logits(ensemble, photos, settings.on)
                runs = pool.map(runs_of_logits, logits, [settings.threshold] * len(logits))
                yield from map(Prediction, batch, logits, runs)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@torch.inference_mode()
def compute_logits(ensemble: Ensemble, photos: NDArray[np.uint8], on: torch.device) -> NDArray[np.float32]:
    """Logits float32 [n, height, width] of photos uint8 [n, height, width, 3]."""
    with device.precision(on):
        return ensemble(torch.from_numpy(photos).to(on)).float().cpu().numpy()


def _decoded(
    archive: Archive, names: list[str], size: tuple[int, int], batch_size: int, pool: ThreadPoolExecutor
) -> Iterator[tuple[list[str], NDArray[np.uint8]]]:
    """Batches of names and photos uint8 [n, height, width, 3], decoded by the pool a little ahead of use."""
    ahead: deque[tuple[list[str], NDArray[np.uint8], list[Future[None]]]] = deque()

    def ready() -> tuple[list[str], NDArray[np.uint8]]:
        batch, photos, futures = ahead.popleft()
        for future in futures:
            future.result()
        return batch, photos

    for start in range(0, len(names), batch_size):
        batch = names[start : start + batch_size]
        photos = np.empty((len(batch), *size, 3), dtype=np.uint8)
        tasks = [pool.submit(_decode, archive, name, photos[row]) for row, name in enumerate(batch)]
        ahead.append((batch, photos, tasks))
        if len(ahead) > _BATCHES_AHEAD:
            yield ready()
    while ahead:
        yield ready()


def _decode(archive: Archive, name: str, into: NDArray[np.uint8]) -> None:
    height, width, _ = into.shape
    into[...] = decode_photo(archive.read(name), f"{archive.path}: {name}", (height, width))
