"""The training of a second look: its windows, its steps, and that it goes on after a kill as if nothing had been."""

import numpy as np
import pytest
import torch
from conftest import read_network, read_params, repack
from hypothesis import given
from hypothesis import strategies as st

from carvana.base.errors import UserError
from carvana.competition import HEIGHT, WIDTH, car_of
from carvana.data import cache
from carvana.networks import models
from carvana.networks.checkpoint import Trained
from carvana.networks.second_look import SIZE
from carvana.refinement import loop, windows
from carvana.refinement.examples import Examples

CPU = torch.device("cpu")
SMALL = {"refine_depth": 2, "refine_width": 4, "refine_window": 64, "refine_windows": 2, "refine_batch_size": 4}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def disc(height, width):
    """Logits of a car in the middle."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    return (8 * (0.3 - y**2 - x**2))[None]


@given(st.integers(0, 2**32), st.sampled_from([64, 256, 1280]))
def test_windows_show_the_outline_and_stay_inside(seed, window):
    logits = disc(128, 192)
    (places,) = windows.corners(logits, SIZE, window, 8, generator(seed)).tolist()
    enlarged = torch.nn.functional.interpolate(logits[None], size=SIZE, mode="bilinear")[0]
    for y, x in places:
        assert 0 <= y <= HEIGHT - window
        assert 0 <= x <= WIDTH - window
        part = enlarged[0, max(y - 10, 0) : y + window + 10, max(x - 10, 0) : x + window + 10] > 0
        assert part.any()
        assert not part.all()


def test_windows_of_a_photo_without_a_car_are_anywhere():
    places = windows.corners(torch.full((2, 32, 32), -5.0), SIZE, 256, 50, generator())
    assert places.shape == (2, 50, 2)
    assert places.float().std(dim=1).min() > 100


def test_the_cut_parts_are_those_of_each_photo():
    pictures = torch.arange(2 * 3 * 8 * 8).reshape(2, 3, 8, 8)
    places = torch.tensor([[[0, 0], [2, 3]], [[4, 4], [1, 0]]])
    parts = windows.cut(pictures, places, 4)
    assert parts.shape == (4, 3, 4, 4)
    assert torch.equal(parts[1], pictures[0, :, 2:6, 3:7])
    assert torch.equal(parts[2], pictures[1, :, 4:, 4:])


@pytest.fixture(scope="module")
def known(_competition, tmp_path_factory):
    """A cache of the photos, for the true runs that it holds."""
    zips, folder = _competition[0], tmp_path_factory.mktemp("cache") / "cache"
    cache.write(zips / "train.zip", zips / "train_masks.zip", folder, (64, 64), 1)
    return cache.read(folder)


@pytest.fixture
def examples(kaggle, known):
    by_car = {car: [name for name in known.names if car_of(name) == car] for car in map(car_of, known.names)}
    first, *others = by_car.values()
    return Examples.of(kaggle / "train.zip", known, [name for names in others for name in names], first)


@pytest.fixture
def first():
    torch.manual_seed(0)
    network = read_network(depth=2)
    return Trained(models.build(network).eval(), (64, 64), network)


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_it_learns_and_leaves_the_first_network_alone(first, examples, capsys):
    before = weights(first.model)
    settings = read_params(**SMALL, refine_epochs=6, refine_learning_rate=0.02, train_precision="float32")
    model, history, seconds = loop.fit(first, examples, settings, CPU, None)
    assert all(torch.equal(value, before[name]) for name, value in weights(model.first).items())
    assert history[-1].train_loss < 0.9 * history[0].train_loss
    assert len(history) == 6
    assert seconds > 0
    alone = loop.validate(loop.begin(first, settings, loop.schedule_of(settings), CPU).model, examples, settings)
    lines = capsys.readouterr().out.splitlines()
    assert f"The first network alone: Dice {alone[1]:.5f} at full size" in lines
    reached = max(epoch.validation_dice for epoch in history)
    assert f"With the second look: Dice {reached:.5f}" in lines
    assert reached > alone[1], "better than the first network alone"


def test_one_that_gains_nothing_is_said(first, examples, monkeypatch, capsys):
    monkeypatch.setattr(loop, "validate", lambda *_: (0.1, 0.5))
    settings = read_params(**SMALL, refine_epochs=1, train_precision="float32")
    loop.fit(first, examples, settings, CPU, None)
    assert "no better than without it: change refine.*, or set refine.epochs: 0" in capsys.readouterr().out


def test_a_stopped_training_ends_with_the_same_weights(first, examples, tmp_path):
    settings = read_params(**SMALL, refine_epochs=3, train_precision="float32")
    whole, history, _ = loop.fit(first, examples, settings, CPU, None)

    def stop(epochs):
        if len(epochs) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.fit(first, examples, settings, CPU, tmp_path / "epoch.pt", stop)
    resumed, again, _ = loop.fit(first, examples, settings, CPU, tmp_path / "epoch.pt")
    assert again == history
    assert all(torch.equal(value, weights(whole)[name]) for name, value in weights(resumed).items())


def test_a_diverged_training_and_a_damaged_photo_are_named(first, examples, kaggle):
    settings = read_params(**SMALL | {"refine_batch_size": 1}, refine_epochs=1, refine_learning_rate=1e30)
    with pytest.raises(UserError, match=r"the loss is not finite at epoch 1/1, step .*; lower refine.learning_rate"):
        loop.fit(first, examples, settings, CPU, None)
    repack(kaggle / "train.zip", lambda members: members.update({f"train/{examples.train[0]}": b"no photo"}))
    with pytest.raises(UserError, match=f"{examples.train[0]} is not a complete JPEG"):
        loop.fit(first, examples, read_params(**SMALL, refine_epochs=1), CPU, None)


def test_every_fourth_photo_of_a_car_validates(examples, known):
    assert examples.validation == sorted(name for name in known.names if car_of(name) == car_of(known.names[0]))[::4]
    assert set(examples.truth) == {*examples.train, *examples.validation}
    for photos, masks in examples.load(examples.train[:3], 2, 0, CPU):
        assert photos.shape[1:] == (*SIZE, 3)
        assert set(np.unique(masks)) <= {0, 255}
