"""Networks by name, from photos to one logit for each pixel."""

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor, nn

from carvana.base.errors import UserError, near, reason
from carvana.base.params import Network
from carvana.networks.unet import UNet

NONE = "none"  # stands for "no encoder" and for "no weights"

# ImageNet's means and standard deviations by channel: the convention, and close to what pretrained encoders expect.
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


class Model(nn.Module):
    """From photos [n, height, width, 3], RGB in 0–255, uint8 or float32, to logits float32 [n, height, width]."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(1, 3, 1, 1) * 255, persistent=False)
        self.network = network

    def forward(self, photos: Tensor) -> Tensor:
        """Returns logits for photos."""
        # NHWC viewed as NCHW is already channels_last: only the conversion to float makes a copy.
        features = (photos.permute(0, 3, 1, 2) - self.mean) / self.deviation
        return self.network(features).squeeze(1).float()


def build(network: Network, encoder_weights: str = NONE) -> Model:
    """Returns the network, newly initialised from torch's seed, in channels_last memory format.

    Without an encoder, `arch` must be unet, and the network is the slides' own. With one, it is a network of
    segmentation-models-pytorch. Raises UserError if a name is unknown, with similar names, or if one is missing.
    """
    if network.encoder != NONE:
        from carvana.networks import zoo  # noqa: PLC0415 - seconds of imports that the slides' U-Net does not need

        made = zoo.build(network, encoder_weights)
    elif network.arch != "unet":
        raise UserError(
            f"params.yaml: train.arch: {network.arch} needs a train.encoder, for example resnet34"
            f"{near(network.arch, ['unet'])}"
        )
    elif encoder_weights != NONE:
        raise UserError("params.yaml: train.encoder_weights: there are none without a train.encoder")
    else:
        made = UNet(network)
    # The memory format in which torch's convolutions are fastest. Torch's types do not have this form of `to`.
    return Model(made).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def require_size(network: Network, size: tuple[int, int], key: str = "train.size") -> None:
    """Raises UserError if the network cannot take `size` (height, width), which comes from the parameter `key`."""
    if network.encoder == NONE:
        multiple = network.patch * 2 ** (network.depth - 1)
        if any(side % multiple for side in size):
            raise UserError(
                f"params.yaml: {key}: {size[0]}×{size[1]} is not a multiple of {multiple}, which train.patch: "
                f"{network.patch} and train.depth: {network.depth} require"
            )
        return
    try:
        # Shapes alone, on a device that computes nothing.
        build(network).eval().to("meta")(torch.zeros(1, *size, 3, dtype=torch.uint8, device="meta"))
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"params.yaml: {key}: {network.arch} with {network.encoder} cannot take {size[0]}×{size[1]} "
            f"({reason(error)}); some encoders take only one size, others only multiples of 64 or more"
        ) from error


def count_parameters(model: nn.Module) -> int:
    """Returns the number of trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def describe(network: Network, parameters: int, sizes: Iterable[tuple[int, int]]) -> str:
    """Returns the network and the sizes (height, width) of its photos in words.

    `unet with resnet34, 24,436,369 parameters, at 320×480 and 256×384`.
    """
    name = network.arch if network.encoder == NONE else f"{network.arch} with {network.encoder}"
    return f"{name}, {parameters:,} parameters, at {' and '.join(f'{height}×{width}' for height, width in sizes)}"


def summary(model: nn.Module, size: tuple[int, int]) -> str:
    """Returns a table of the layers with parameters, and their sum, for a photo of `size`, in evaluation mode."""
    rows: list[tuple[str, str, str, str]] = []

    def note(name: str, layer: nn.Module, _given: object, output: Tensor) -> None:
        rows.append((name, type(layer).__name__, "×".join(map(str, output.shape[1:])), f"{count_parameters(layer):,}"))

    for name, layer in model.named_modules():
        if not list(layer.children()) and list(layer.parameters()):
            layer.register_forward_hook(partial(note, name))
    with torch.inference_mode():
        model.eval()(torch.zeros(1, *size, 3, dtype=torch.uint8))
    rows.append(("total", "", "", f"{count_parameters(model):,}"))
    longest = max(len(name) for name, *_ in rows) + 2
    return "\n".join(f"{name:<{longest}}{kind:<16}{shape:<16}{number:>12}" for name, kind, shape, number in rows)
