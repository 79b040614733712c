"""The slides' U-Net, with the changes that the slides propose and a few others."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from carvana.base.params import Network


class UNet(nn.Module):
    """The slides' U-Net: `depth` levels, with `width` channels on the first and twice as many on each following level.

    Input: features float32 [n, 3, height, width], sides a multiple of `patch` · 2^(depth-1).
    Output: logits [n, 1, height, width].

    With depth 5, width 8, patch 1, no batch norm, head 'slides' and nearest upsampling, it has the slides' 485,957
    parameters; with depth 4, their 120,965. Head 'slides', a 3×3 convolution to two channels with ReLU before the last
    1×1 convolution, can die in training: both channels are then zero everywhere ("no car"). Head 'plain' is the 1×1
    convolution alone. Dropout acts on the two deepest levels, as in the slides.

    With `patch` p, the pixels of a p×p square become channels, and the head returns a logit for every pixel of the
    square (https://arxiv.org/abs/1609.05158): no pixel is lost, each level sees p times as far, and the costly first
    level has 1/p² of the positions.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        widths = [network.width * 2**level for level in range(network.depth)]
        norm, squares = network.batch_norm, network.patch**2
        self.patch = network.patch
        self.encoder = nn.ModuleList(
            _double(inputs, outputs, norm) for inputs, outputs in zip([3 * squares, *widths], widths, strict=False)
        )
        self.upsamplers = nn.ModuleList(_up(network.upsampling, width * 2, width, norm) for width in widths[-2::-1])
        self.decoder = nn.ModuleList(_double(width * 2, width, norm) for width in widths[-2::-1])
        self.dropout = nn.Dropout(network.dropout)
        self.head: nn.Module = nn.Conv2d(widths[0], squares, 1)
        if network.head == "slides":
            self.head = nn.Sequential(nn.Conv2d(widths[0], 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, squares, 1))
        self.apply(_initialise)

    def forward(self, features: Tensor) -> Tensor:
        """Returns logits for features."""
        if self.patch > 1:
            features = functional.pixel_unshuffle(features, self.patch).contiguous(memory_format=torch.channels_last)
        skips = []
        for level, block in enumerate(self.encoder):
            features = block(features if level == 0 else functional.max_pool2d(features, 2))
            if level >= len(self.encoder) - 2:
                features = self.dropout(features)
            skips.append(features)
        skips.pop()
        for upsampler, block in zip(self.upsamplers, self.decoder, strict=True):
            features = block(torch.cat([skips.pop(), upsampler(features)], dim=1))
        logits = self.head(features)
        return functional.pixel_shuffle(logits, self.patch) if self.patch > 1 else logits


def _up(kind: str, inputs: int, outputs: int, norm: bool) -> nn.Sequential:
    """Returns layers that double height and width.

    `nearest` is nearest-neighbour doubling, then a 2×2 convolution padded below and to the right, like 'same' in Keras.
    `bilinear` is a 1×1 convolution, then bilinear doubling: in the other order it would cost four times as much.
    `transposed` is a transposed convolution, as in the slides' appendix and in the original U-Net.
    """
    up = nn.Sequential()
    if kind == "nearest":
        up.add_module("doubling", nn.Upsample(scale_factor=2.0, mode="nearest"))
        up.add_module("padding", nn.ZeroPad2d((0, 1, 0, 1)))
        up.add_module("convolution", nn.Sequential(*_convolution(inputs, outputs, 2, norm)))
    elif kind == "bilinear":
        up.add_module("convolution", nn.Sequential(*_convolution(inputs, outputs, 1, norm)))
        up.add_module("doubling", nn.Upsample(scale_factor=2.0, mode="bilinear"))
    else:
        layer = nn.ConvTranspose2d(inputs, outputs, 2, stride=2, bias=not norm)
        up.add_module("convolution", nn.Sequential(layer, *_activation(outputs, norm)))
    return up


def _double(inputs: int, outputs: int, norm: bool) -> nn.Sequential:
    return nn.Sequential(*_convolution(inputs, outputs, 3, norm), *_convolution(outputs, outputs, 3, norm))


def _convolution(inputs: int, outputs: int, kernel: int, norm: bool) -> list[nn.Module]:
    layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2 if kernel % 2 else 0, bias=not norm)
    return [layer, *_activation(outputs, norm)]


def _activation(channels: int, norm: bool) -> list[nn.Module]:
    return [*([nn.BatchNorm2d(channels)] if norm else []), nn.ReLU(inplace=True)]


def _initialise(layer: nn.Module) -> None:
    """Applies He's initialisation, made for ReLU (https://arxiv.org/abs/1502.01852), and sets biases to zero."""
    # On the device meta there are no values, and drawing them would import 800 modules, for a second.
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and not layer.weight.is_meta:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
