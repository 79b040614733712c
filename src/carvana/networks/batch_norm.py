"""Batch norm that trains faster on a CPU if there are few channels.

In torch's channels-last kernels, every thread sums into a row of its own, which has one float32 for each channel. Eight
channels fill half a cache line, so two threads write to the same line and wait for each other: at 256², the sums of the
backward pass take 30 ms on two threads, but 4 ms on one. If the same memory is viewed as a picture half as wide with
sixteen channels, they take 1.4 ms.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional

_CHANNELS = 16  # float32 in a cache line of 64 bytes


class BatchNorm2d(nn.BatchNorm2d):
    """A replacement for torch's layer, equal up to rounding, over photos [n, channels, height, width]."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    def forward(self, photos: Tensor) -> Tensor:
        """Returns the photos, each channel normalised."""
        if not self.training or photos.device.type != "cpu" or self.num_features >= _CHANNELS:
            return super().forward(photos)
        folds = _folds(photos)
        mean, variance = _statistics(_fold(photos.detach(), folds), folds)
        count = photos.numel() // self.num_features
        if count == 1:  # torch's message, which the training looks for
            raise ValueError("Expected more than 1 value per channel when training")
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        return _Normalise.apply(photos, self.weight, self.bias, mean, variance, self.eps)


class _Normalise(Function):
    """The function weight · (x - mean) / √(variance + eps) + bias, whose mean and variance must be those of x."""

    @staticmethod
    def forward(
        context: Any, photos: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, eps: float
    ) -> Tensor:
        context.save_for_backward(photos, weight, mean, variance)
        context.eps = eps
        folds = _folds(photos)
        mean, variance, weight, bias = (each.repeat(folds) for each in (mean, variance, weight, bias))
        normal = functional.batch_norm(_fold(photos, folds), mean, variance, weight, bias, training=False, eps=eps)
        # `data` is not a view: the next layer, ReLU, works in place, which torch forbids on a view that this returns.
        return _unfold(normal, folds).data

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        photos, weight, mean, variance = context.saved_tensors
        folds, count = _folds(photos), photos.numel() // len(weight)
        gradient = _fold(gradient.contiguous(memory_format=torch.channels_last), folds) if folds > 1 else gradient
        folded = _fold(photos, folds)
        values = [each.repeat(folds) for each in (weight, mean, variance)]
        _, *sums = torch.ops.aten.native_batch_norm_backward(
            gradient, folded, *values, None, None, False, context.eps, [False, True, True]
        )
        of_weight, of_bias = (each.view(folds, -1).sum(0) for each in sums)
        # https://arxiv.org/abs/1502.03167, section 3: the gradient minus what flows back through mean and variance.
        inverse = torch.rsqrt(variance + context.eps)
        scale = weight * inverse
        slope = -scale * inverse * of_weight / count
        offset = -scale * of_bias / count - slope * mean
        scale, slope, offset = (each.repeat(folds)[:, None, None] for each in (scale, slope, offset))
        of_photos = torch.addcmul(offset, folded, slope).addcmul_(gradient, scale)
        return _unfold(of_photos.to(photos.dtype), folds), of_weight, of_bias, None, None, None


def _statistics(folded: Tensor, folds: int) -> tuple[Tensor, Tensor]:
    """Returns mean and variance, both float32 [channels]."""
    # Dummy float32 running statistics make torch compute those of bfloat16 in float32.
    dummies = torch.zeros(2, folded.shape[1])
    means, variances = (each.view(folds, -1) for each in torch.ops.aten.batch_norm_update_stats(folded, *dummies, 0.0))
    mean = means.mean(0)
    # Over all values: the mean of the variances plus the variance of the means (Chan, Golub and LeVeque 1979).
    return mean, (variances + (means - mean) ** 2).mean(0)


def _folds(photos: Tensor) -> int:
    """Returns how many adjacent pixels to fold into channels; 1 means none."""
    channels, width = photos.shape[1], photos.shape[3]
    folds = max(_CHANNELS // channels, 1)
    return folds if width % folds == 0 and photos.is_contiguous(memory_format=torch.channels_last) else 1


def _fold(photos: Tensor, folds: int) -> Tensor:
    """Returns [n, channels, height, width] viewed as [n, folds · channels, height, width / folds], without a copy."""
    count, channels, height, width = photos.shape
    return photos.permute(0, 2, 3, 1).reshape(count, height, width // folds, folds * channels).permute(0, 3, 1, 2)


def _unfold(photos: Tensor, folds: int) -> Tensor:
    """Reverses `_fold`."""
    count, channels, height, width = photos.shape
    return photos.permute(0, 2, 3, 1).reshape(count, height, width * folds, channels // folds).permute(0, 3, 1, 2)
