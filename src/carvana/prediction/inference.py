"""Prediction: photos in a zip → batches → networks → logits → run lists at 1918×1280, in constant memory.

Workers of a DataLoader decode; threads of this process call the engine and compute runs from its logits.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from carvana.base.errors import UserError
from carvana.data import loader
from carvana.data.loader import Batch
from carvana.devices import device
from carvana.masks import rle
from carvana.masks.fullsize import runs_of_logits
from carvana.networks import checkpoint, models
from carvana.networks.sizes import sizes_of
from carvana.prediction import engines
from carvana.prediction.settings import Settings

_AHEAD = 2  # pieces per thread that may wait, so that memory stays constant


@dataclass(frozen=True)
class Prediction:
    """A photo's name, its runs at 1918×1280, and, if asked for, its logits float32 [height, width] at network size."""

    photo: str
    runs: rle.Runs
    logits: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Damaged:
    """A photo that cannot be read, and why."""

    photo: str
    reason: UserError


Outcome = Prediction | Damaged
Task = TypeVar("Task")
Result = TypeVar("Result")


class Ensemble(nn.Module):
    """Networks trained at one size, whose logits are averaged, over scales and mirror images too.

    Each photo is decoded only once, at `size` (height, width), the largest of the `sizes` at which the networks see it.
    """

    def __init__(
        self, trained: list[checkpoint.Trained], flip: bool = False, scales: tuple[float, ...] = (1.0,)
    ) -> None:
        """Raises UserError if the networks were trained at several sizes, or cannot take the size of one of `scales`.

        With `flip`, the networks also see each photo's mirror image.
        """
        super().__init__()
        trained_at = {each.size for each in trained}
        if len(trained_at) > 1:
            raise UserError(f"the models were trained at different sizes ({sorted(trained_at)}); train them at one")
        (trained_size,) = trained_at
        self.sizes = sizes_of(trained_size, scales)
        self.size = max(self.sizes)
        for size in {*self.sizes} - trained_at:
            for each in trained:
                models.require_size(each.network, size, "predict.scales")
        self.models = nn.ModuleList(each.model for each in trained)
        self.flip = flip
        self.eval()

    @classmethod
    def load(cls, paths: Iterable[Path], flip: bool = False, scales: tuple[float, ...] = (1.0,)) -> Self:
        """Returns the ensemble of the models in some files. Raises UserError if one cannot be used."""
        return cls(list(map(checkpoint.load, paths)), flip, scales)

    def forward(self, photos: Tensor) -> Tensor:
        """Returns mean logits float32 [n, height, width] of photos uint8 [n, height, width, 3]."""
        return torch.stack([self._logits_at(size, photos) for size in self.sizes]).mean(dim=0)

    def _logits_at(self, size: tuple[int, int], photos: Tensor) -> Tensor:
        if size != self.size:
            features = functional.interpolate(photos.permute(0, 3, 1, 2).float(), size, mode="bilinear")
            photos = features.permute(0, 2, 3, 1)
        logits = self._mean(photos)
        if self.flip:
            logits = (logits + self._mean(photos.flip(2)).flip(2)) / 2
        if size != self.size:
            logits = functional.interpolate(logits.unsqueeze(1), self.size, mode="bilinear").squeeze(1)
        return logits

    def _mean(self, photos: Tensor) -> Tensor:
        return torch.stack([model(photos) for model in self.models]).mean(dim=0)


def predict(
    ensemble: Ensemble, path: Path, names: Iterable[str], how: Settings, *, keep_logits: bool = False
) -> Iterator[Outcome]:
    """Yields a `Prediction` for every named photo of a zip, in order, or `Damaged` if it cannot be read.

    Raises UserError if the network's output is not finite.
    """
    engine = engines.build(ensemble, ensemble.size, how)

    def one(name: str, logits: NDArray[np.float32], reasons: dict[str, UserError]) -> Outcome:
        if name in reasons:
            return Damaged(name, reasons[name])
        return Prediction(name, runs_of_logits(logits, how.threshold), logits.copy() if keep_logits else None)

    def finish(begun: tuple[Batch, AbstractContextManager[NDArray[np.float32]]]) -> list[Outcome]:
        piece, computed = begun
        with computed as logits:
            return list(over(one, piece.names, logits, repeat(piece.reasons)))

    pin, waiting = how.on.type == "cuda", _AHEAD * engine.threads
    # Photos that wait for a CPU are still in shared memory.
    held = 0 if pin else -(-waiting * engine.photos_a_call // how.batch_size)
    batches = loader.load(path, list(names), ensemble.size, how.batch_size, how.workers, pin, held)
    pieces = (piece for batch in batches for piece in batch.split(engine.photos_a_call))
    begun = ((piece, engine.begin(_filled_up(piece.photos, engine.photos_a_call))) for piece in pieces)
    with (
        device.enough_memory(partial(_what_fits, ensemble, engine.photos_a_call, how.on)),
        engines.one_core_a_thread(),
        ThreadPoolExecutor(engine.threads) as pool,
        ThreadPoolExecutor(how.threads) as finishers,
    ):
        over = finishers.map if engine.photos_a_call > 1 else map
        for outcomes in in_order(pool, finish, begun, waiting):
            yield from outcomes


def _what_fits(ensemble: Ensemble, count: int, on: torch.device) -> str:
    """Returns an advice after memory has run out for `count` photos at a time."""

    def compute(photos: int) -> None:
        with torch.inference_mode(), device.precision(on):
            ensemble(torch.zeros(photos, *ensemble.size, 3, dtype=torch.uint8, device=on))

    while count := count // 2:
        if device.fits(partial(compute, count)):
            return f"runtime.batch_size: {count} fits"
    return "lower runtime.workers, train.size or predict.scales"


def _filled_up(photos: Tensor, count: int) -> Tensor:
    """Returns `count` photos, the last of them black: for every new number of them, cuDNN would plan anew."""
    missing = count - len(photos)
    return torch.cat([photos, photos.new_zeros(missing, *photos.shape[1:])]) if missing else photos


def in_order(
    pool: ThreadPoolExecutor, work: Callable[[Task], Result], tasks: Iterable[Task], ahead: int
) -> Iterator[Result]:
    """Yields what `work` returns for each task, in order; at most `ahead` tasks are begun before they are needed."""
    waiting: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(work, task))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
