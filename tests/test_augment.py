import cv2
import numpy as np
import pytest
import torch
from projects import read_params

from carvana.training.augment import Augmentation, _by_opencv, _by_torch

EVERYTHING = {"flip": 0.5, "rotation": 25.0, "shift": 0.1, "scale": 0.2, "close_up": 0.5}
EVERYTHING |= {"brightness": 0.2, "contrast": 0.2, "saturation": 0.5, "hue": 20.0}
NOTHING = dict.fromkeys(EVERYTHING, 0.0)
SIZE = (48, 64)


def draw(count=4, seed=0, **limits):
    settings = read_params(**{f"augment_{key}": value for key, value in (NOTHING | limits).items()}).augment
    return Augmentation.draw(count, SIZE, settings, torch.Generator().manual_seed(seed))


def pairs(count=4):
    """Photos of a smooth pattern, and masks that are their red channel."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    red = [127 + 120 * np.sin(rows / (5 + i)) * np.cos(columns / (7 + i)) for i in range(count)]
    photos = torch.tensor(np.stack([np.stack([each, each / 2, 255 - each], axis=-1) for each in red]).astype(np.uint8))
    return photos, photos[..., 0].clone()


@pytest.mark.parametrize("limits", [{}, *({key: EVERYTHING[key]} for key in EVERYTHING if key != "flip")])
def test_every_limit_changes_photos_and_only_geometry_changes_masks(limits):
    photos, masks = pairs()
    changed, changed_masks = draw(**limits).apply(photos, masks)
    assert torch.equal(changed, photos) == (not limits)
    assert torch.equal(changed_masks, masks) == (not limits.keys() & {"rotation", "shift", "scale", "close_up"})


def test_a_mask_moves_with_its_photo_and_stays_soft():
    photos, masks = pairs()
    changed, changed_masks = draw(flip=0.5, rotation=25.0, shift=0.1, scale=0.2).apply(photos, masks)
    assert torch.equal(changed[..., 0], changed_masks)
    assert changed_masks.dtype == torch.uint8
    assert changed_masks.unique().numel() > 100


def test_a_flip_mirrors_both_exactly_and_half_of_the_photos_are_flipped():
    photos, masks = pairs()
    flipped, flipped_masks = draw(flip=1.0).apply(photos, masks)
    assert torch.equal(flipped, photos.flip(2))
    assert torch.equal(flipped_masks, masks.flip(2))
    assert 16 < draw(64, flip=0.5).flipped.sum() < 48


@pytest.mark.parametrize("degrees", [-20.0, 7.0, 25.0])
def test_rotation_is_opencvs_with_a_mirrored_border(degrees):
    """`symmetric` in the slides is BORDER_REFLECT: the edge pixel itself is repeated, and no corner is black."""
    photos, masks = pairs(1)
    height, width = SIZE
    changes = draw(1, rotation=25.0)
    angle = np.deg2rad(degrees)
    # As `draw` would have it for that angle.
    cosine, sine = np.cos(angle), np.sin(angle)
    motion = torch.tensor([[[cosine, -sine * height / width, 0], [sine * width / height, cosine, 0]]]).float()
    turned, _ = Augmentation(changes.flipped & False, motion, None).apply(photos, masks)
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
    options = {"flags": cv2.INTER_CUBIC, "borderMode": cv2.BORDER_REFLECT}
    expected = cv2.warpAffine(photos[0].numpy().astype(np.float32), matrix, (width, height), **options)
    assert np.abs(turned[0].numpy() - expected.clip(0, 255)).max() < 0.51


@pytest.mark.parametrize("size", [SIZE, (32, 32), (48, 32)])
@pytest.mark.parametrize("limits", [{}, *({key: EVERYTHING[key]} for key in EVERYTHING if key != "flip"), EVERYTHING])
def test_a_cpu_changes_pictures_as_a_gpu_does_up_to_rounding(size, limits):
    pictures = [each[:, : size[0], : size[1]].contiguous() for each in pairs(8)]
    settings = read_params(**{f"augment_{key}": value for key, value in (NOTHING | limits).items()}).augment
    changes = Augmentation.draw(8, size, settings, torch.Generator().manual_seed(0))
    parts = changes.flipped, changes.motion, changes.colour
    for one, other in zip(_by_opencv(*pictures, *parts), _by_torch(*pictures, *parts), strict=True):
        difference = (one.int() - other.int()).abs()
        assert difference.max() <= 1
        assert difference.float().mean() < 0.1


def test_angles_shifts_and_scales_stay_within_their_limits_and_fill_them():
    changes = draw(4000, rotation=10.0, shift=0.1, scale=0.2)
    height, width = SIZE
    motion = changes.motion.clone()
    motion[:, 0, 1] *= width / height
    motion[:, 1, 0] *= height / width
    scale = 1 / motion[:, :, :2].det().sqrt()
    angle = torch.rad2deg(torch.atan2(motion[:, 1, 0], motion[:, 0, 0]))
    for value, lowest, highest in ((scale, 0.8, 1.2), (angle, -10, 10), (motion[:, :, 2] / 2, -0.1, 0.1)):
        assert lowest - 1e-3 <= value.min() < lowest + 0.01 * (highest - lowest) + 1e-3
        assert highest + 1e-3 >= value.max() > highest - 0.01 * (highest - lowest) - 1e-3


def test_close_ups_are_enlarged_views_within_the_photo():
    motion = draw(4000, close_up=0.25, shift=0.5).motion
    scale = 1 / motion[:, 0, 0]
    near = scale > 1
    assert 0.22 < near.float().mean() < 0.28
    assert scale.max() == pytest.approx(1.4, abs=0.01)
    furthest = motion[near, :, :2].abs().sum(dim=2) + motion[near, :, 2].abs()
    assert 0.99 < furthest.max() <= 1 + 1e-5
    assert motion[~near, :, 2].abs().max() > 0.9


def test_grey_stays_grey_under_hue_and_saturation_and_its_brightness_too():
    photos = torch.full((4, *SIZE, 3), 90, dtype=torch.uint8)
    changed, _ = draw(saturation=1.0, hue=180.0).apply(photos, photos[..., 0])
    assert (changed - 90).abs().max() < 0.1


def test_the_same_seed_is_the_same_batch_of_bytes_and_another_is_not():
    photos, masks = pairs()
    results = [draw(seed=seed, **EVERYTHING).apply(photos, masks)[0] for seed in (1, 1, 2)]
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    assert all(0 <= result.min() < result.max() <= 255 for result in results)


def test_a_part_of_a_batch_is_changed_as_in_the_whole():
    photos, masks = pairs(4)
    whole, whole_masks = draw(**EVERYTHING).apply(photos, masks)
    part, part_masks = draw(**EVERYTHING).apply(photos[1:3], masks[1:3], slice(1, 3))
    assert torch.allclose(part, whole[1:3], atol=1e-3)
    assert torch.equal(part_masks, whole_masks[1:3])
