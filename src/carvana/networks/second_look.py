"""A second look: a small network at the photos' full size corrects the logits of a first one at a smaller size."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from carvana.base.params import Network
from carvana.competition import HEIGHT, WIDTH
from carvana.networks.models import Model
from carvana.networks.unet import UNet

SIZE = (HEIGHT, WIDTH)

# As both networks see a photo: multiples of 128, the most that a U-Net of params.yaml requires.
_PADDED = (1280, 1920)

# Logits beyond ±8 (p = 0.9997) say nothing more. A quarter of them has about the range of the normalised colours.
_SURE, _SCALE = 8.0, 4.0


class SecondLook(Model):
    """A U-Net over the whole photo that adds a correction to the logits of a first network, enlarged to full size.

    Input: photos [n, 1280, 1918, 3], RGB in 0–255, uint8 or float32.
    Output: logits float32 [n, 1280, 1918].

    The first network sees the photo at its own `size` (height, width), averaged by area and then interpolated, much as
    `data.photos.decode_photo` returns it. The U-Net sees the photo's own pixels, with the first network's logits as a
    fourth channel. Its last layer begins at zero, so that a new second look returns the first network's logits.
    """

    def __init__(self, first: Model, size: tuple[int, int], network: Network) -> None:
        unet = UNet(network, channels=4)
        for parameter in unet.head.parameters():
            nn.init.zeros_(parameter)
        super().__init__(unet)
        self.first, self.size = first, size

    def forward(self, photos: Tensor) -> Tensor:
        """Returns logits float32 [n, 1280, 1918] for photos [n, 1280, 1918, 3]."""
        padded = self.pad(photos)
        logits = self.correct(padded, self.enlarge(self.first_logits(padded)))
        return logits[:, :HEIGHT, :WIDTH]

    def pad(self, photos: Tensor) -> Tensor:
        """Returns photos float32 [n, 3, 1280, 1920], with their last pixels repeated.

        The first network sees these pixels, too: every pixel then has the same place in both networks.
        """
        below, right = (padded - side for padded, side in zip(_PADDED, SIZE, strict=True))
        return functional.pad(photos.permute(0, 3, 1, 2).float(), (0, right, 0, below), mode="replicate")

    def first_logits(self, padded: Tensor) -> Tensor:
        """Returns the first network's logits float32 [n, *size] for padded photos."""
        times = 1
        while 2 * times * self.size[0] <= HEIGHT and 2 * times * self.size[1] <= WIDTH:
            times *= 2
        averaged = functional.avg_pool2d(padded, times) if times > 1 else padded
        small = functional.interpolate(averaged, size=self.size, mode="bilinear", align_corners=False)
        return self.first(small.permute(0, 2, 3, 1))

    def enlarge(self, logits: Tensor) -> Tensor:
        """Returns the first network's logits [n, *size] at the padded photos' size."""
        return functional.interpolate(logits.unsqueeze(1), _PADDED, mode="bilinear", align_corners=False).squeeze(1)

    def correct(self, photos: Tensor, logits: Tensor) -> Tensor:
        """Returns corrected logits float32 [n, height, width], of padded photos or of windows of them.

        `photos` [n, 3, height, width] in 0–255 and the first network's `logits` [n, height, width] show the same part.
        """
        sure = logits.clamp(-_SURE, _SURE).unsqueeze(1)
        features = torch.cat([(photos - self.mean) / self.deviation, sure / _SCALE], dim=1)
        return (sure + self.network(features).float()).squeeze(1)
