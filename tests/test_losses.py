import numpy as np
import pytest
import torch
from torch.nn import functional

from carvana.training import losses

NAMES = ["bce", "boundary_bce"]


def loss(name):
    return losses.by_name(name, 4.0)


def disc(radius, centre=16):
    """Coverage of a disc, soft at its edge."""
    rows, columns = np.mgrid[:32, :32]
    distance = np.hypot(rows - centre, columns - centre)
    return torch.tensor(np.clip(radius + 0.5 - distance, 0, 1), dtype=torch.float32)[None]


def logits_of(coverage):
    return torch.logit(coverage.clamp(0.01, 0.99))


@pytest.mark.parametrize("name", NAMES)
def test_good_is_less_than_worse_is_less_than_bad(name):
    """Hard edges are worse than soft ones: a loss whose best answer to coverage 0.3 is 0 would move the outline."""
    truth = disc(8)
    guesses = (truth, truth.round(), disc(7), disc(4), 1 - truth)
    values = [loss(name)(logits_of(guess), truth).item() for guess in guesses]
    assert values == sorted(values)
    assert len(set(values)) == 5
    assert 0 <= values[0] < values[-1] / 5


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_is_of_each_photo_alone(name):
    truth, guess = torch.cat([disc(8), disc(5)]), logits_of(torch.cat([disc(6), disc(9)]))
    together = loss(name)(guess, truth)
    assert together.shape == (2,)
    for row in range(2):
        assert loss(name)(guess[row : row + 1], truth[row : row + 1]).item() == pytest.approx(together[row].item())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["soft", "hard", "empty", "full"])
def test_gradients_are_finite_and_lead_downhill(name, kind):
    truth = {"soft": disc(8), "hard": disc(8).round(), "empty": disc(8) * 0, "full": disc(8) * 0 + 1}[kind]
    guess = (torch.randn(1, 32, 32, generator=torch.Generator().manual_seed(0)) * 3).requires_grad_()
    before = loss(name)(guess, truth).sum()
    (gradient,) = torch.autograd.grad(before, guess)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().sum() > 0
    # A short step along it, in the size of the logits.
    assert loss(name)(guess - gradient / gradient.abs().max(), truth).sum() < before


def test_cross_entropy_is_the_slides_formula():
    p, y = np.array([0.1, 0.3, 0.8]), np.array([0, 0.25, 1])
    logits, coverage = (torch.tensor(each, dtype=torch.float32).view(1, 1, 3) for each in (np.log(p / (1 - p)), y))
    expected = float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean())
    assert losses.binary_cross_entropy(logits, coverage).item() == pytest.approx(expected, rel=1e-5)


def test_the_boundary_counts_more_and_the_weight_says_how_much():
    truth = disc(8)
    at_edge, far_away = logits_of(disc(9)), logits_of((disc(8) + disc(1, centre=28)).clamp(max=1))

    def boundary(logits, weight):
        return losses.boundary_cross_entropy(logits, truth, weight).item()

    assert boundary(at_edge, 4.0) / boundary(far_away, 4.0) > 1.2 * boundary(at_edge, 0.0) / boundary(far_away, 0.0)
    assert boundary(at_edge, 0.0) == pytest.approx(losses.binary_cross_entropy(at_edge, truth).item(), rel=1e-5)


def test_dice_per_photo():
    logits = torch.tensor([[[1.0, -1.0]], [[1.0, 1.0]], [[-1.0, -1.0]]])
    coverage = torch.tensor([[[0.6, 0.4]], [[1.0, 0.0]], [[0.0, 0.0]]])
    assert losses.dice_per_photo(logits, coverage).tolist() == pytest.approx([1, 2 / 3, 1])


def test_targets_are_soft_or_hard():
    masks = torch.tensor([[[0, 51, 128, 255]]], dtype=torch.uint8)
    assert losses.coverage_of(masks, "soft").flatten().tolist() == pytest.approx([0, 0.2, 128 / 255, 1])
    assert losses.coverage_of(masks, "hard").flatten().tolist() == [0, 0, 1, 1]


def test_a_cpu_finds_the_boundary_that_torchs_pooling_finds_on_a_gpu():
    coverage = torch.randint(0, 256, (3, 20, 33)).float() / 255
    highest, lowest = (sign * functional.max_pool2d(sign * coverage, 5, stride=1, padding=2) for sign in (1, -1))
    assert torch.equal(losses._change(coverage), highest - lowest)
