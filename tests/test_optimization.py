import pytest
import torch
from conftest import read_params
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from carvana.training import optimization
from carvana.training.history import Epoch


def settings(**changes):
    return read_params(**{f"train_{key}": value for key, value in changes.items()}).train


def optimizer(train):
    return optimization.build_optimizer(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), train)


def rates(train, epochs, steps_per_epoch=5, history=()):
    made = optimizer(train)
    return [
        optimization.schedule(made, train, step, steps_per_epoch, list(history))
        for step in range(epochs * steps_per_epoch)
    ]


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_one_cycle_is_torchs(name):
    train = settings(schedule="one_cycle", optimizer=name, epochs=7, learning_rate=0.01)
    ours, theirs = optimizer(train), optimizer(train)
    reference = OneCycleLR(theirs, 0.01, total_steps=35)
    for step in range(35):
        optimization.schedule(ours, train, step, 5, [])
        for mine, other in zip(ours.param_groups, theirs.param_groups, strict=True):
            assert mine["lr"] == pytest.approx(other["lr"])
            assert mine.get("betas", mine.get("momentum")) == pytest.approx(other.get("betas", other.get("momentum")))
        theirs.step()
        if step < 34:
            reference.step()


def test_one_step_in_all_has_a_rate():
    assert len(rates(settings(schedule="one_cycle", epochs=1), 1, 1)) == 1


def test_cosine_rises_then_falls_to_nothing():
    values = rates(settings(schedule="cosine", warmup=2.0, epochs=10, learning_rate=0.1), 10)
    top = values.index(max(values))
    assert 9 <= top <= 11
    assert values[:top] == sorted(values[:top])
    assert values[top:] == sorted(values[top:], reverse=True)
    assert values[top] == pytest.approx(0.1, rel=0.01)
    assert values[-1] < 0.001


def test_constant_is_constant_after_its_warmup():
    values = rates(settings(schedule="constant", warmup=1.0, epochs=4, learning_rate=0.1), 4)
    assert values[:5] == pytest.approx([0.1 * (step + 1) / 6 for step in range(5)])
    assert set(values[5:]) == {0.1}


@pytest.mark.parametrize(
    ("dice", "factor"),
    [
        ([], 1),
        ([0.9, 0.8, 0.8, 0.8], 1),
        ([0.9, 0.8, 0.8, 0.8, 0.8], 0.3),
        ([0.9, *[0.8] * 8], 0.09),
        ([0.5, 0.4, 0.5, 0.4, 0.4, 0.6], 0.3),
    ],
)
def test_a_plateau_lowers_the_rate(dice, factor):
    history = [Epoch(i, 0, 0, 0, 0, 0, value) for i, value in enumerate(dice, start=1)]
    train = settings(schedule="plateau", learning_rate=0.1)
    assert rates(train, 1, history=history)[0] == pytest.approx(0.1 * factor)


def test_the_encoder_learns_at_its_share_of_the_rate():
    model = nn.ModuleDict({"network": nn.ModuleDict({"encoder": nn.Conv2d(1, 2, 3), "decoder": nn.Conv2d(2, 1, 3)})})
    train = settings(encoder_rate=0.1, learning_rate=0.01, schedule="constant")
    made = optimization.build_optimizer(model, train)
    assert optimization.schedule(made, train, 50, 5, []) == pytest.approx(0.01)
    rate_of = {value: group["lr"] for group in made.param_groups for value in group["params"]}
    assert {name: rate_of[value] for name, value in model.named_parameters()} == pytest.approx(
        {
            "network.encoder.weight": 0.001,
            "network.encoder.bias": 0.001,
            "network.decoder.weight": 0.01,
            "network.decoder.bias": 0.01,
        }
    )


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_every_optimizer_goes_downhill_and_only_kernels_decay(name):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 3))
    made = optimization.build_optimizer(model, settings(optimizer=name, learning_rate=0.01, weight_decay=0.1))
    assert sorted(
        (value.ndim > 1, group["weight_decay"]) for group in made.param_groups for value in group["params"]
    ) == ([(False, 0.0)] * 4 + [(True, 0.1)] * 2)
    pictures = torch.randn(4, 1, 8, 8)
    losses = []
    for _ in range(20):
        made.zero_grad()
        loss = (model(pictures) - 1).square().mean()
        loss.backward()
        made.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
