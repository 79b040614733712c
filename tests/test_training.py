import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import read_params

from carvana import augment, cache, losses, training
from carvana.errors import UserError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def examples(_competition, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache") / "cache"
    cache.write(_competition[0] / "train.zip", _competition[0] / "train_masks.zip", folder, (64, 64), 1)
    return cache.read(folder)


def settings(**changes):
    tiny = {"size": 64, "depth": 3, "width": 4, "epochs": 2, "batch_size": 4}
    return read_params(**{f"train_{key}": value for key, value in (tiny | changes).items()}).train


def fit(examples, **changes):
    return training.fit(examples, np.arange(8), np.arange(8, 10), settings(**changes), CPU)


def test_it_learns_ellipses(examples):
    _, history = fit(examples, epochs=20, learning_rate=0.01)
    assert history[-1].train_loss < history[0].train_loss / 2
    assert max(epoch.validation_dice for epoch in history) > 0.9


def test_the_same_seed_is_the_same_model_and_another_is_not(examples):
    weights = [fit(examples, seed=seed)[0].state_dict() for seed in (1, 1, 2)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert any(not torch.equal(weights[0][name], weights[2][name]) for name in weights[0])


def test_the_model_is_that_of_its_best_epoch(examples):
    model, history = fit(examples, epochs=6, learning_rate=0.03)
    best = max(epoch.validation_dice for epoch in history)
    assert training.validate(model, examples, np.arange(8, 10), 4, CPU)[1] == pytest.approx(best)


def test_a_loss_that_is_not_finite_stops_with_step_and_names(examples):
    with pytest.raises(UserError, match=r"at epoch \d+/20, step \d, on .*_0[12]\.jpg.*train\.learning_rate"):
        fit(examples, epochs=20, learning_rate=1e30, batch_norm=False)


def test_history_is_a_row_an_epoch(tmp_path):
    first = training.Epoch(1, 0.5, 0.25, 1 / 3, 0.75)
    training.write_history(tmp_path / "fold-0.csv", [first, replace(first, epoch=2)])
    with (tmp_path / "fold-0.csv").open(encoding="ascii", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert rows[0]["validation_loss"] == "0.333333"


def test_dice_per_photo():
    logits = torch.tensor([[[1.0, -1.0]], [[1.0, 1.0]], [[-1.0, -1.0]]])
    coverage = torch.tensor([[[0.6, 0.4]], [[1.0, 0.0]], [[0.0, 0.0]]])
    assert training.dice_per_photo(logits, coverage).tolist() == pytest.approx([1, 2 / 3, 1])


def test_cross_entropy_is_the_slides_formula_and_orders_predictions():
    coverage = torch.tensor([[[0.0, 0.25, 1.0]]])

    def loss(*probabilities):
        return losses.binary_cross_entropy(torch.logit(torch.tensor([[probabilities]])), coverage).item()

    p, y = np.array([0.1, 0.3, 0.8]), np.array([0, 0.25, 1])
    assert loss(*p) == pytest.approx(float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()), rel=1e-5)
    assert loss(0.01, 0.25, 0.99) < loss(0.2, 0.3, 0.8) < loss(0.9, 0.9, 0.1)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_flip_moves_photo_and_mask_together(probability):
    photos = torch.randint(0, 256, (3, 4, 6, 3), dtype=torch.uint8)
    masks = photos[..., 0].clone()
    flipped, flipped_masks = augment.flip(photos, masks, probability, torch.Generator().manual_seed(0))
    assert torch.equal(flipped[..., 0], flipped_masks)
    assert torch.equal(flipped, photos.flip(2) if probability else photos)


def test_flip_flips_some_and_the_same_ones_for_a_seed():
    photos = torch.arange(64 * 2, dtype=torch.uint8).reshape(64, 1, 2, 1).expand(-1, -1, -1, 3)
    masks = photos[..., 0]
    once, _ = augment.flip(photos, masks, 0.5, torch.Generator().manual_seed(3))
    again, _ = augment.flip(photos, masks, 0.5, torch.Generator().manual_seed(3))
    assert torch.equal(once, again)
    changed = (once != photos).any(dim=(1, 2, 3)).sum().item()
    assert 16 < changed < 48
