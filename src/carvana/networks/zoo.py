"""Networks by name, from segmentation-models-pytorch and timm."""

import importlib
import inspect
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from carvana.base.errors import UserError, near, reading, reason, some
from carvana.base.params import Network
from carvana.networks.weights import load_encoder, weights_file

# PyPI's torchvision is built for CUDA. With a CPU build of torch its operators are missing, and its import fails. These
# packages import it but call none of its operators, so two schemas without code are enough.
try:
    importlib.import_module("torchvision")
except RuntimeError:
    _schemas = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        _schemas.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import segmentation_models_pytorch as smp
import timm
from segmentation_models_pytorch.base import SegmentationHead
from segmentation_models_pytorch.base.initialization import initialize_head
from timm.layers import convert_sync_batchnorm


def build(network: Network, weights: str) -> nn.Module:
    """Returns a network from features [n, 3, height, width] to logits [n, 1, height, width].

    `weights` are the encoder's: 'none', 'imagenet' (from an installed package if there is one, else downloaded once
    from smp's place on the Hugging Face hub), or a file. Raises UserError if a name is unknown, with similar names, if
    weights are not available, if the decoder's channels are not for this network, or if smp cannot build it.
    """
    arch, encoder = network.arch, network.encoder
    _require_known("arch", arch, smp.MODEL_ARCHITECTURES_MAPPING)
    # `tu-` is smp's prefix for timm's.
    _require_known("encoder", encoder, ["none", *smp.encoders.encoders, *(f"tu-{name}" for name in timm.list_models())])
    file = weights_file(encoder, weights)
    fetched = None if file or weights == "none" else "imagenet"
    complaint, advice = f"cannot build {arch} with {encoder} and weights {weights}", "name others in params.yaml"
    with reading("segmentation-models-pytorch", complaint, advice):
        try:
            built = smp.create_model(arch, encoder, fetched, in_channels=3, classes=1, **_decoder(network))
        except (OSError, ImportError) as error:  # an ImportError if a SOCKS proxy needs a package
            raise UserError(
                f"no installed package has the ImageNet weights of {encoder}, and they could not be fetched "
                f"({reason(error)}); install requirements.txt, go online once, or name a file in train.encoder_weights"
            ) from error
    if file:
        load_encoder(built.encoder, file)
    if network.patch > 1:
        _end_early(built, network.patch)
    for layer in built.modules():
        if isinstance(layer, nn.Conv2d) and layer.groups > 1:
            layer.__class__ = type(type(layer).__name__, (_TrainedInFloat32, type(layer)), {})
    return built


class _TrainedInFloat32(nn.Module):
    """A grouped convolution that a CPU trains in float32, even within autocast; its output has the input's dtype.

    oneDNN's gradients of a depthwise convolution take up to seven times as long in bfloat16 as in float32, and were
    half of a training step on tf_efficientnet_lite0.
    """

    def forward(self, features: Tensor) -> Tensor:
        if not self.training or features.device.type != "cpu":
            return super().forward(features)
        with torch.autocast("cpu", enabled=False):
            return super().forward(features.float()).to(features.dtype)


def _decoder(network: Network) -> dict[str, Any]:
    """Returns smp's argument for the widths of the decoder, for all levels of it; nothing for smp's own widths."""
    widths, key = network.decoder_channels, f"params.yaml: train.decoder_channels: {network.arch}"
    if widths == "auto":
        return {}
    argument = inspect.signature(smp.MODEL_ARCHITECTURES_MAPPING[network.arch]).parameters.get("decoder_channels")
    if argument is None:
        raise UserError(f"{key} has no such widths; set it to auto")
    left_out = network.patch.bit_length() - 1
    levels = len(argument.default) - left_out if isinstance(argument.default, tuple) else 1
    if len(widths) != levels:
        at = f" with train.patch: {network.patch}" if left_out else ""
        raise UserError(f"{key}{at} takes {levels}, not {len(widths)}")
    if levels == 1:
        return {"decoder_channels": widths[0]}
    return {"decoder_channels": [*widths, *widths[-1:] * left_out]}


def _end_early(network: smp.Unet, patch: int) -> None:
    """Replaces the last levels of smp's U-Net by a head that returns a logit for each pixel of a square."""
    blocks = network.decoder.blocks[: 1 - patch.bit_length()]
    width = blocks[-1].conv2[0].out_channels
    head = SegmentationHead(width, patch**2, kernel_size=3)
    initialize_head(head)
    network.decoder.blocks, network.segmentation_head = blocks, nn.Sequential(head, nn.PixelShuffle(patch))


def share_batch_norm(model: nn.Module) -> None:
    """Makes a model's batch norm span several GPUs. Torch's own conversion would drop timm's activations."""
    convert_sync_batchnorm(model)


def _require_known(key: str, name: str, known: Iterable[str]) -> None:
    if name not in (names := list(known)):
        advice = near(name, names, 3) or f"; there are {some(names)}"
        raise UserError(f"params.yaml: train.{key}: {name} is unknown{advice}")
