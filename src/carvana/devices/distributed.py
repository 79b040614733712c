"""One training or prediction in several processes that torchrun starts: one for each GPU, on one or more machines.

Without torchrun there is a single process, rank 0 of 1, and the functions here cost nothing.
"""

import contextlib
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, distributed, nn

from carvana.base import torchrun
from carvana.base.errors import UserError, some

Value = TypeVar("Value")

_PATIENCE = timedelta(days=7)  # how long processes that work at their own pace wait for each other


@contextlib.contextmanager
def joined(on: torch.device, *, in_step: bool = True) -> Iterator[torch.device]:
    """Joins the processes that torchrun started, and yields this process's device (`cuda` becomes its own GPU).

    Processes `in_step`, as in training, never wait long for each other, and torch's timeouts apply. Others work at
    their own pace and wait for days. They use gloo, because NCCL would keep their GPUs busy meanwhile.
    """
    if not torchrun.launched():
        yield on
        return
    if on.type == "cuda":
        on = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(on)
    backend, timeout = "nccl" if in_step and on.type == "cuda" else "gloo", None if in_step else _PATIENCE
    store, number, count = next(distributed.rendezvous("env://"))
    if store.add(f"joined/{number}", 1) > 1:
        # Its machine was started again, and would wait for processes that still work with its predecessor.
        raise RuntimeError(f"process {number} has joined before, and others have not noticed its end yet")
    # Before the long timeout applies: a machine whose files are missing never joins.
    store.wait([f"joined/{each}" for each in range(count)])
    distributed.init_process_group(backend, timeout=timeout, store=store, rank=number, world_size=count)
    yield on
    # Not after an error: this would wait for the others, and the error would stay hidden.
    distributed.destroy_process_group()


def rank() -> int:
    """Returns this process's number, from 0; only process 0 writes results."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world() -> int:
    """Returns the number of processes on all machines."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def wrap(model: nn.Module, size: tuple[int, int]) -> nn.Module:
    """Returns the model with gradients averaged over the processes. `size` is (height, width) of its photos.

    Parameters that no gradient reaches are frozen: DistributedDataParallel would wait for them forever, or search for
    them at every step.
    """
    if world() == 1:
        return model
    for parameter in unreached(model, size):
        parameter.requires_grad_(False)
    with warnings.catch_warnings():
        # torch 2.13 calls the argument deprecated; that of the new name does not exist before.
        warnings.simplefilter("ignore", FutureWarning)
        # Batch norm's running statistics are either equal already or each process's own: there is nothing to send.
        return nn.parallel.DistributedDataParallel(model, broadcast_buffers=False)


def unreached(model: nn.Module, size: tuple[int, int]) -> list[nn.Parameter]:
    """Returns the parameters that no gradient reaches in training: PSPNet, for one, skips its encoder's last stages."""
    parameters = [each for each in model.parameters() if each.requires_grad]
    photo = torch.zeros(1, *size, 3, dtype=torch.uint8, device=parameters[0].device)
    # Evaluation mode neither changes running statistics nor draws random numbers.
    gradients = torch.autograd.grad(model.eval()(photo).sum(), parameters, allow_unused=True)
    model.train()
    return [each for each, gradient in zip(parameters, gradients, strict=True) if gradient is None]


def total(values: Tensor) -> Tensor:
    """Sums a tensor over the processes, in place, and returns it."""
    if world() > 1:
        distributed.all_reduce(values)
    return values


def same_as_first(model: nn.Module) -> None:
    """Copies rank 0's parameters and buffers to all processes."""
    if world() > 1:
        for value in model.state_dict().values():
            distributed.broadcast(value, src=0)


def from_first(make: Callable[[], Value]) -> Value:
    """Calls `make` in rank 0 only, and returns its result in every process."""
    box = [make() if rank() == 0 else None]
    if world() > 1:
        distributed.broadcast_object_list(box, src=0)
    return cast("Value", box[0])


def averaging(model: nn.Module, now: bool) -> contextlib.AbstractContextManager[None]:
    """Returns a context in which a wrapped model's gradients are averaged over the processes, or not yet."""
    if now or world() == 1:
        return contextlib.nullcontext()
    return cast("nn.parallel.DistributedDataParallel", model).no_sync()


def gathered(values: list[Any]) -> list[Any]:
    """Returns the lists of all processes joined into one, in every process; each waits here for the others."""
    if world() == 1:
        return values
    boxes: list[list[Any]] = [[] for _ in range(world())]
    distributed.all_gather_object(boxes, values)
    return [value for box in boxes for value in box]


def require_same(inputs: Mapping[str, str]) -> None:
    """Raises UserError, in every process, with the names of inputs that are not the same in all of them."""
    everywhere = gathered([inputs])
    if others := [name for name in inputs if len({each[name] for each in everywhere}) > 1]:
        raise UserError(f"the machines differ in {some(others)}; make them the same, and start all of them again")


def sent_to_first(data: Callable[[], bytes], source: int) -> bytes:
    """Calls `data` in the process `source`, and returns its result in process 0; both must call this."""
    box = [data() if rank() == source else b""]
    if rank() == source:
        distributed.send_object_list(box, 0)
    elif rank() == 0:
        distributed.recv_object_list(box, source)
    return box[0]


@contextlib.contextmanager
def until_all_are_done() -> Iterator[None]:
    """Waits at the end of the block for the others; ends this process at once if one of them dies within it.

    Processes that work at their own pace would otherwise notice that only at their next exchange, hours later.
    """
    if world() == 1:
        yield
        return

    def listen() -> None:
        try:
            distributed.recv(torch.zeros(1), (rank() + 1) % world())
        except RuntimeError:
            os._exit(1)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    yield
    distributed.send(torch.zeros(1), (rank() - 1) % world())
    listener.join()
