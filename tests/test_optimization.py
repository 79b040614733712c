import pytest
from projects import read_params
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from carvana.training import optimization


def settings(**changes):
    return read_params(**{f"train_{key}": value for key, value in changes.items()}).train


def optimizer(train):
    return optimization.build_optimizer(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), train)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_one_cycle_is_torchs(name):
    train = settings(schedule="one_cycle", optimizer=name, epochs=7, learning_rate=0.01)
    ours, theirs = optimizer(train), optimizer(train)
    reference = OneCycleLR(theirs, 0.01, total_steps=35)
    for step in range(35):
        optimization.schedule(ours, train, step, 35)
        for mine, other in zip(ours.param_groups, theirs.param_groups, strict=True):
            assert mine["lr"] == pytest.approx(other["lr"])
            assert mine["betas"] == pytest.approx(other["betas"])
        theirs.step()
        if step < 34:
            reference.step()


def test_one_step_in_all_has_a_rate_and_the_slides_rate_is_constant():
    train = settings(schedule="one_cycle")
    assert optimization.schedule(optimizer(train), train, 0, 1) > 0
    train = settings(schedule="constant", learning_rate=0.001)
    made = optimizer(train)
    assert {optimization.schedule(made, train, step, 9) for step in range(9)} == {0.001}
    assert {group["lr"] for group in made.param_groups} == {0.001}


def test_only_kernels_decay():
    groups = optimizer(settings(optimizer="adamw", weight_decay=0.1)).param_groups
    found = {value.ndim: group["weight_decay"] for group in groups for value in group["params"]}
    assert found == {4: 0.1, 1: 0.0}
