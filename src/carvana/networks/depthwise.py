"""Depthwise convolutions that train faster on a CPU in bfloat16.

oneDNN's gradients of a depthwise convolution take up to seven times as long in bfloat16 as in float32, and were half of
a training step on tf_efficientnet_lite0.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode


def has_groups(network: nn.Module) -> bool:
    """Returns whether a network has grouped convolutions, of which depthwise ones are a kind."""
    return any(isinstance(layer, nn.Conv2d) and layer.groups > 1 for layer in network.modules())


class GroupsInFloat32(TorchFunctionMode):
    """A context in which grouped convolutions are computed in float32, even within autocast on a CPU.

    Their results have the dtype of their input.
    """

    def __torch_function__(
        self, function: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        """Calls a function of torch."""
        kwargs = kwargs or {}
        groups = args[6] if len(args) > 6 else kwargs.get("groups", 1)
        if function is not torch.conv2d or groups == 1:
            return function(*args, **kwargs)
        features, *others = args
        with torch.autocast("cpu", enabled=False):
            return function(features.float(), *others, **kwargs).to(features.dtype)
