"""Batch norm over the batch of all processes of a training on the CPU; torch has it for GPUs alone.

With a loss that is a mean over all processes' photos it gives, to rounding, what one process with the whole batch does.
"""

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.autograd import Function
from torch.nn import functional


def share(model: nn.Module) -> nn.Module:
    """The same model, each of its BatchNorm2d (timm's with an activation, too) over the batch of all processes."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            # The layer keeps its name, its values and its place: only what it computes is another's.
            module.__class__ = SharedBatchNorm2d
    return model


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm of photos [n, channels, height, width], of which every process has some; see `share`."""

    def forward(self, photos: Tensor) -> Tensor:
        """As torch's BatchNorm2d; in training all processes must come here together."""
        normal = self._of_all_processes(photos) if self.training else super().forward(photos)
        return self.act(self.drop(normal)) if hasattr(self, "act") else normal

    def _of_all_processes(self, photos: Tensor) -> Tensor:
        mean, variance, count = _statistics(photos.detach())
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        return _Normalise.apply(photos, self.weight, self.bias, mean, variance, count, self.eps)


def _statistics(photos: Tensor) -> tuple[Tensor, Tensor, float]:
    """Mean and variance [channels], float32, and the number of a channel's values, over all processes."""
    # Of two float32 tensors to update, which nobody wants, it takes that the statistics of bfloat16 are float32.
    unwanted = torch.zeros(2, photos.shape[1])
    mean, variance = torch.batch_norm_update_stats(photos, *unwanted, 0.0)
    mine = torch.cat([mean, variance, mean.new_tensor([photos.numel() / len(mean)])])
    gathered = [torch.empty_like(mine) for _ in range(distributed.get_world_size())]
    distributed.all_gather(gathered, mine)
    means, variances, counts = torch.stack(gathered).split([len(mean), len(mean), 1], dim=1)
    shares = counts / counts.sum()
    mean = (shares * means).sum(0)
    # Of all values: the mean of the variances and the variance of the means (Chan, Golub and LeVeque 1979).
    return mean, (shares * (variances + (means - mean) ** 2)).sum(0), counts.sum().item()


class _Normalise(Function):
    """weight · (x - mean) / √(variance + eps) + bias, where mean and variance are those of all processes' x."""

    @staticmethod
    def forward(
        context: Any,
        photos: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        variance: Tensor,
        count: float,
        eps: float,
    ) -> Tensor:
        context.save_for_backward(photos, weight, mean, variance)
        context.count, context.eps = count, eps
        return functional.batch_norm(photos, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        photos, weight, mean, variance = context.saved_tensors
        _, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, photos, weight, mean, variance, None, None, False, context.eps, [False, True, True]
        )
        sums = torch.stack([of_weight, of_bias])
        distributed.all_reduce(sums)
        # https://arxiv.org/abs/1502.03167, section 3: the gradient, less what flows back through mean and variance.
        inverse = torch.rsqrt(variance + context.eps)
        scale = weight * inverse
        slope = -scale * inverse * sums[0] / context.count
        offset = -scale * sums[1] / context.count - slope * mean
        scale, slope, offset = (each[:, None, None] for each in (scale, slope, offset))
        of_photos = torch.addcmul(offset, photos, slope).addcmul_(gradient, scale)
        return of_photos.to(photos.dtype), of_weight, of_bias, None, None, None, None
