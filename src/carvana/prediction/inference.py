"""Photos in a zip → decode → networks → logits → run lists at 1918×1280, in flat memory.

On a CPU each thread takes a photo all the way by itself, and keeps to its core. A GPU computes batches, while threads
decode the next ones and take the runs out of the last.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from carvana.data.archive import Archive
from carvana.data.photos import decode_photo
from carvana.errors import UserError
from carvana.masks import rle
from carvana.masks.fullsize import runs_of_logits
from carvana.networks import checkpoint, device
from carvana.params import Params
from carvana.prediction import engines

_PHOTOS_AHEAD = 4  # a thread, on a CPU
_BATCHES_AHEAD = 2  # decoded while a GPU computes, and as many whose runs are still being taken


@dataclass(frozen=True)
class Prediction:
    """A photo's name, its logits float32 [height, width] at network size, and its runs at 1918×1280."""

    photo: str
    logits: NDArray[np.float32]
    runs: rle.Runs


@dataclass(frozen=True)
class Damaged:
    """A photo that cannot be read, and why."""

    photo: str
    reason: UserError


Outcome = Prediction | Damaged
Result = TypeVar("Result")


@dataclass
class Clock:
    """Seconds that threads have spent on reading and decoding, on the network, and on taking runs."""

    decode: float = 0.0
    compute: float = 0.0
    runs: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, decode: float = 0.0, compute: float = 0.0, runs: float = 0.0) -> None:
        """Adds the seconds of some work."""
        with self._lock:
            self.decode += decode
            self.compute += compute
            self.runs += runs


@dataclass(frozen=True)
class Settings:
    """How to predict: threshold and flips, and the knobs that change speed only."""

    threshold: float
    flip: bool
    on: torch.device
    workers: int
    batch_size: int
    engine: str
    compile: bool

    def at(self, on: torch.device) -> Self:
        """The same on another device."""
        return replace(self, on=on)

    @classmethod
    def of(cls, params: Params) -> Self:
        """The settings that the parameters name."""
        how, runtime = params.predict, params.runtime
        on = device.pick(runtime.device)
        engine = engines.choose(runtime.engine) if on.type == "cpu" else "torch"
        return cls(how.threshold, how.flip, on, max(runtime.workers, 1), runtime.batch_size, engine, runtime.compile)


class Ensemble(nn.Module):
    """Networks of one size, whose logits are averaged while a photo is decoded once."""

    def __init__(self, trained: list[checkpoint.Trained]) -> None:
        super().__init__()
        sizes = {each.size for each in trained}
        if len(sizes) > 1:
            raise UserError(f"the models were trained at different sizes ({sorted(sizes)}); train them at one")
        self.size = sizes.pop()
        self.models = nn.ModuleList(each.model for each in trained)
        self.flip = False

    @classmethod
    def load(cls, paths: Iterable[Path]) -> Self:
        """The models of those files. Raises UserError where one cannot be used."""
        return cls([checkpoint.load(path) for path in paths])

    def flipping(self, flip: bool) -> Self:
        """The same; with `flip`, logits are those of both sides."""
        self.flip = flip
        return self.eval()

    def forward(self, photos: Tensor) -> Tensor:
        """Mean logits float32 [n, height, width] of photos uint8 [n, height, width, 3]; with `flip`, of both sides."""
        logits = torch.stack([model(photos) for model in self.models]).mean(dim=0)
        if not self.flip:
            return logits
        mirrored = torch.stack([model(photos.flip(2)) for model in self.models]).mean(dim=0)
        return (logits + mirrored.flip(2)) / 2


def predict(
    ensemble: Ensemble, archive: Archive, names: Iterable[str], how: Settings, clock: Clock | None = None
) -> Iterator[Outcome]:
    """A prediction for every photo of those names, in their order, or what is wrong with the photo.

    Raises UserError where the network's output is not finite.
    """
    ensemble.flipping(how.flip)
    clock = clock or Clock()
    threads = engines.threads(how.engine, how.workers) if how.on.type == "cpu" else how.workers
    with ThreadPoolExecutor(threads) as pool:
        try:
            if how.on.type == "cpu":
                with engines.one_core_a_thread():
                    yield from _photo_by_photo(ensemble, archive, names, how, pool, clock)
            else:
                advice = "lower runtime.batch_size"
                with device.enough_memory(advice), device.working_compiler(how.compile):
                    yield from _by_batches(ensemble.to(how.on), archive, names, how, pool, clock)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _photo_by_photo(
    ensemble: Ensemble, archive: Archive, names: Iterable[str], how: Settings, pool: ThreadPoolExecutor, clock: Clock
) -> Iterator[Outcome]:
    compute = engines.on_cpu(ensemble, ensemble.size, how.engine, how.workers)

    def one(name: str) -> Outcome:
        started = time.perf_counter()
        photo = np.empty((1, *ensemble.size, 3), np.uint8)
        if damaged := _decode(archive, name, photo[0]):
            return damaged
        decoded = time.perf_counter()
        logits = compute(photo)[0]
        computed = time.perf_counter()
        runs = runs_of_logits(logits, how.threshold)
        clock.add(decoded - started, computed - decoded, time.perf_counter() - computed)
        return Prediction(name, logits, runs)

    yield from in_order((pool.submit(one, name) for name in names), _PHOTOS_AHEAD * how.workers)


def _by_batches(
    ensemble: Ensemble, archive: Archive, names: Iterable[str], how: Settings, pool: ThreadPoolExecutor, clock: Clock
) -> Iterator[Outcome]:
    def finish(name: str, damaged: Damaged | None, logits: Callable[[], Tensor], row: int) -> Outcome:
        if damaged:
            return damaged
        waited = time.perf_counter()
        computed = logits()[row].numpy()
        started = time.perf_counter()
        runs = runs_of_logits(computed, how.threshold)
        clock.add(compute=(started - waited) / how.batch_size, runs=time.perf_counter() - started)
        return Prediction(name, computed, runs)

    waiting: deque[list[Future[Outcome]]] = deque()
    network = torch.compile(ensemble) if how.compile else ensemble
    streams = [torch.cuda.Stream(how.on) for _ in range(2)] if how.on.type == "cuda" else []
    for batch, photos, damaged in _decoded(archive, names, ensemble.size, how, pool, clock):
        logits = _start(network, photos, how.on, streams)
        each = enumerate(zip(batch, damaged, strict=True))
        waiting.append([pool.submit(finish, name, fault, logits, row) for row, (name, fault) in each])
        if len(waiting) > _BATCHES_AHEAD:
            yield from (future.result() for future in waiting.popleft())
    for futures in waiting:
        yield from (future.result() for future in futures)


@torch.inference_mode()
def _start(
    network: Callable[[Tensor], Tensor], photos: Tensor, on: torch.device, streams: list[torch.cuda.Stream]
) -> Callable[[], Tensor]:
    """Sets the device to work on photos uint8 [n, height, width, 3]; gives what waits for their logits.

    On CUDA a batch comes in by one stream and its logits go out by another, while the batches beside it compute.
    """
    if on.type != "cuda":
        with device.precision(on):
            logits = network(photos.to(on)).float().cpu()
        return lambda: logits
    coming, going = streams
    computing = torch.cuda.current_stream(on)
    with torch.cuda.stream(coming):
        given = photos.to(on, non_blocking=True)
    computing.wait_stream(coming)
    # Or the allocator would give its memory to the next batch, which comes by the other stream.
    given.record_stream(computing)
    with device.precision(on):
        logits = network(given).float()
    going.wait_stream(computing)
    with torch.cuda.stream(going):
        host = torch.empty(logits.shape, pin_memory=True).copy_(logits, non_blocking=True)
        done = going.record_event()
    logits.record_stream(going)

    def wait() -> Tensor:
        done.synchronize()
        return host

    return wait


def _decoded(
    archive: Archive, names: Iterable[str], size: tuple[int, int], how: Settings, pool: ThreadPoolExecutor, clock: Clock
) -> Iterator[tuple[list[str], Tensor, list[Damaged | None]]]:
    """Batches of names, photos uint8 [n, height, width, 3] and what is wrong with each, decoded a little ahead."""

    def one(name: str, into: NDArray[np.uint8]) -> Damaged | None:
        started = time.perf_counter()
        damaged = _decode(archive, name, into)
        clock.add(decode=time.perf_counter() - started)
        return damaged

    def start(batch: list[str]) -> tuple[list[str], Tensor, list[Future[Damaged | None]]]:
        photos = torch.empty(len(batch), *size, 3, dtype=torch.uint8, pin_memory=how.on.type == "cuda")
        return batch, photos, [pool.submit(one, name, photos[row].numpy()) for row, name in enumerate(batch)]

    names = list(names)
    batches = (names[first : first + how.batch_size] for first in range(0, len(names), how.batch_size))
    ahead: deque[tuple[list[str], Tensor, list[Future[Damaged | None]]]] = deque()
    for batch in batches:
        ahead.append(start(batch))
        if len(ahead) > _BATCHES_AHEAD:
            ready, photos, futures = ahead.popleft()
            yield ready, photos, [future.result() for future in futures]
    for ready, photos, futures in ahead:
        yield ready, photos, [future.result() for future in futures]


def in_order(futures: Iterable[Future[Result]], count: int) -> Iterator[Result]:
    """Results in order, of futures that are made at most `count` ahead of the one that is waited for."""
    waiting: deque[Future[Result]] = deque()
    for future in futures:
        waiting.append(future)
        if len(waiting) > count:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _decode(archive: Archive, name: str, into: NDArray[np.uint8]) -> Damaged | None:
    height, width, _ = into.shape
    try:
        into[...] = decode_photo(archive.read(name), f"{archive.path}: {name}", (height, width))
    except UserError as error:
        into[...] = 0
        return Damaged(name, error)
    return None
