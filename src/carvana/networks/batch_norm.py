"""Batch norm for training on the CPU: over the batch of all processes, and quick where there are few channels.

Torch has the first for GPUs alone. As to the second: its kernels for channels last let every thread sum into a row of
its own, as long as there are channels. Eight of them are half a cache line, so that two threads write to one line and
wait for each other: backwards, at 256², two threads take 30 ms for sums that one takes 4 for. Seen as a picture half as
wide with sixteen channels, the same memory takes 1.4 ms.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional

from carvana.networks import distributed

_CHANNELS = 16  # float32 in a cache line of 64 bytes


def share(model: nn.Module) -> nn.Module:
    """The model with batch norm over the whole batch, of which every process has a part."""
    kind = next(model.parameters()).device.type
    if kind == "cpu":
        return convert(model)
    if kind == "cuda" and distributed.world() > 1:
        from carvana.networks import zoo  # noqa: PLC0415 - seconds of imports

        return zoo.share_batch_norm(model)
    return model


def convert(model: nn.Module) -> nn.Module:
    """The same model, with these layers for its BatchNorm2d (timm's with an activation, too) where they serve."""
    shared = distributed.world() > 1
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module.affine and (shared or module.num_features < _CHANNELS):
            # The layer keeps its name, its values and its place: only what it computes is another's.
            module.__class__ = BatchNorm2d
    return model


class BatchNorm2d(nn.BatchNorm2d):
    """Torch's layer over photos [n, channels, height, width], of which every process has some; see `convert`."""

    def forward(self, photos: Tensor) -> Tensor:
        """To rounding what torch's layer gives of all photos; in training all processes must come here together."""
        normal = self._of_all_processes(photos) if self.training else super().forward(photos)
        return self.act(self.drop(normal)) if hasattr(self, "act") else normal

    def _of_all_processes(self, photos: Tensor) -> Tensor:
        folds = _folds(photos)
        mean, variance, count = _statistics(_fold(photos.detach(), folds), folds)
        if count == 1:  # torch's words
            raise ValueError("Expected more than 1 value per channel when training")
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        return _Normalise.apply(photos, self.weight, self.bias, mean, variance, count, self.eps)


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
        folds = _folds(photos)
        values = [each.repeat(folds) for each in (mean, variance, weight, bias)]
        normal = _unfold(functional.batch_norm(_fold(photos, folds), *values, training=False, eps=eps), folds)
        # The same memory, but not as a view: what comes next, ReLU, may write in place.
        return normal.new_empty(0).set_(normal.untyped_storage(), 0, normal.shape, normal.stride())

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        photos, weight, mean, variance = context.saved_tensors
        folds = _folds(photos)
        gradient = _fold(gradient.contiguous(memory_format=torch.channels_last), folds) if folds > 1 else gradient
        photos = _fold(photos, folds)
        values = [each.repeat(folds) for each in (weight, mean, variance)]
        _, *sums = torch.ops.aten.native_batch_norm_backward(
            gradient, photos, *values, None, None, False, context.eps, [False, True, True]
        )
        of_weight, of_bias = (each.view(folds, -1).sum(0) for each in sums)
        all_of = torch.stack([of_weight, of_bias])
        distributed.total(all_of)
        # https://arxiv.org/abs/1502.03167, section 3: the gradient, less what flows back through mean and variance.
        inverse = torch.rsqrt(variance + context.eps)
        scale = weight * inverse
        slope = -scale * inverse * all_of[0] / context.count
        offset = -scale * all_of[1] / context.count - slope * mean
        scale, slope, offset = (each.repeat(folds)[:, None, None] for each in (scale, slope, offset))
        of_photos = torch.addcmul(offset, photos, slope).addcmul_(gradient, scale)
        return _unfold(of_photos.to(photos.dtype), folds), of_weight, of_bias, None, None, None, None


def _statistics(folded: Tensor, folds: int) -> tuple[Tensor, Tensor, float]:
    """Mean and variance [channels], float32, and the number of a channel's values, over all processes."""
    # Of two float32 tensors to update, which nobody wants, it takes that the statistics of bfloat16 are float32.
    unwanted = torch.zeros(2, folded.shape[1])
    means, variances = (each.view(folds, -1) for each in torch.batch_norm_update_stats(folded, *unwanted, 0.0))
    counts = means.new_full((folds, 1), folded.numel() / folded.shape[1])
    of_all = distributed.concatenated(torch.cat([means, variances, counts], dim=1))
    means, variances, counts = of_all.split([means.shape[1], means.shape[1], 1], dim=1)
    shares = counts / counts.sum()
    mean = (shares * means).sum(0)
    # Of all values: the mean of the variances and the variance of the means (Chan, Golub and LeVeque 1979).
    return mean, (shares * (variances + (means - mean) ** 2)).sum(0), counts.sum().item()


def _folds(photos: Tensor) -> int:
    """As how many neighbours side by side, each a channel, a place is best seen."""
    channels, width = photos.shape[1], photos.shape[3]
    folds = max(_CHANNELS // channels, 1)
    return folds if width % folds == 0 and photos.is_contiguous(memory_format=torch.channels_last) else 1


def _fold(photos: Tensor, folds: int) -> Tensor:
    """[n, channels, height, width] seen as [n, folds · channels, height, width / folds], without a copy."""
    count, channels, height, width = photos.shape
    return photos.permute(0, 2, 3, 1).reshape(count, height, width // folds, folds * channels).permute(0, 3, 1, 2)


def _unfold(photos: Tensor, folds: int) -> Tensor:
    """What `_fold` was given."""
    count, channels, height, width = photos.shape
    return photos.permute(0, 2, 3, 1).reshape(count, height, width * folds, channels // folds).permute(0, 3, 1, 2)
