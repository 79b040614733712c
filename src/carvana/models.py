"""The slides' U-Net, with or without batch norm. Photos in, one logit a pixel out."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from carvana.params import Network

# ImageNet's channel means and deviations, the field's convention (and what pretrained encoders expect).
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)


class UNet(nn.Module):
    """U-Net of the slides: `depth` levels, `width` channels on the first and twice as many on each next.

    Input: photos uint8 [n, height, width, 3], RGB, sides a multiple of 2^(depth-1).
    Output: logits float32 [n, height, width].

    Depth 5 and width 8 without batch norm, with the slides' head, has their 485,957 parameters; depth 4
    their 120,965. That head, a 3×3 convolution to two channels with ReLU before the last 1×1, can die in
    training (both channels zero everywhere: "no car"). 'plain' is the 1×1 convolution alone.
    Dropout acts on the two deepest levels, as in the slides.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        widths = [network.width * 2**level for level in range(network.depth)]
        norm = network.batch_norm
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("deviation", torch.tensor(_DEVIATION).view(1, 3, 1, 1) * 255, persistent=False)
        self.encoder = nn.ModuleList(
            _double(inputs, outputs, norm) for inputs, outputs in zip([3, *widths], widths, strict=False)
        )
        self.upsamplers = nn.ModuleList(_Up(width * 2, width, norm) for width in widths[-2::-1])
        self.decoder = nn.ModuleList(_double(width * 2, width, norm) for width in widths[-2::-1])
        self.dropout = nn.Dropout(network.dropout)
        self.dropped_levels = {network.depth - 2, network.depth - 1}
        self.head: nn.Module = nn.Conv2d(widths[0], 1, 1)
        if network.head == "slides":
            self.head = nn.Sequential(nn.Conv2d(widths[0], 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 1, 1))
        self.apply(_initialise)

    def forward(self, photos: Tensor) -> Tensor:
        """Logits float32 [n, height, width] of photos uint8 [n, height, width, 3]."""
        # NHWC bytes seen as NCHW are channels_last already: nothing is copied but the conversion.
        features = (photos.permute(0, 3, 1, 2) - self.mean) / self.deviation
        skips = []
        for level, block in enumerate(self.encoder):
            features = block(features if level == 0 else functional.max_pool2d(features, 2))
            if level in self.dropped_levels:
                features = self.dropout(features)
            skips.append(features)
        skips.pop()
        for upsampler, block in zip(self.upsamplers, self.decoder, strict=True):
            features = block(torch.cat([skips.pop(), upsampler(features)], dim=1))
        return self.head(features).squeeze(1).float()


class _Up(nn.Module):
    """Nearest-neighbour doubling and a 2×2 convolution padded below and to the right, as Keras' 'same' does."""

    def __init__(self, inputs: int, outputs: int, norm: bool) -> None:
        super().__init__()
        self.convolution = nn.Sequential(*_convolution(inputs, outputs, 2, norm))

    def forward(self, features: Tensor) -> Tensor:
        doubled = functional.interpolate(features, scale_factor=2.0, mode="nearest")
        return self.convolution(functional.pad(doubled, (0, 1, 0, 1)))


def _double(inputs: int, outputs: int, norm: bool) -> nn.Sequential:
    return nn.Sequential(*_convolution(inputs, outputs, 3, norm), *_convolution(outputs, outputs, 3, norm))


def _convolution(inputs: int, outputs: int, kernel: int, norm: bool) -> list[nn.Module]:
    layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2 if kernel % 2 else 0, bias=not norm)
    return [layer, *([nn.BatchNorm2d(outputs)] if norm else []), nn.ReLU(inplace=True)]


def _initialise(layer: nn.Module) -> None:
    """He's initialisation, made for ReLU (https://arxiv.org/abs/1502.01852); biases start at zero."""
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def build(network: Network) -> UNet:
    """The network, freshly initialised from torch's seed, in channels_last memory format."""
    return UNet(network).to(memory_format=torch.channels_last)


def count_parameters(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def summary(model: nn.Module, size: tuple[int, int]) -> str:
    """A table of the layers with parameters: name, kind, output shape for one photo, parameters; then the total."""
    rows: list[tuple[str, str, str, str]] = []

    def note(name: str, layer: nn.Module, output: Tensor) -> None:
        rows.append((name, type(layer).__name__, "×".join(map(str, output.shape[1:])), f"{count_parameters(layer):,}"))

    hooks = [
        layer.register_forward_hook(lambda layer, _, output, name=name: note(name, layer, output))
        for name, layer in model.named_modules()
        if not list(layer.children()) and list(layer.parameters())
    ]
    training = model.training
    with torch.inference_mode():
        model.eval()(torch.zeros(1, *size, 3, dtype=torch.uint8))
    model.train(training)
    for hook in hooks:
        hook.remove()
    lines = [f"{name:<32}{kind:<14}{shape:<16}{number:>12}" for name, kind, shape, number in rows]
    return "\n".join([*lines, f"{'total':<62}{count_parameters(model):>12,}"])
