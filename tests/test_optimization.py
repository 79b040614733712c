import io

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from projects import read_params
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from carvana.training import optimization


def settings(**changes):
    return read_params(**{f"train_{key}": value for key, value in changes.items()}).train


def optimizer(train):
    return optimization.build_optimizer(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), train)


@pytest.mark.parametrize("name", ["adam", "adamw", "muon"])
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


@given(rows=st.integers(1, 40), columns=st.integers(1, 40), scale=st.floats(1e-6, 1e6), seed=st.integers(0, 99))
def test_singular_values_become_about_1_and_directions_stay(rows, columns, scale, seed):
    random = torch.Generator().manual_seed(seed)
    left, values, right = torch.linalg.svd(torch.randn(rows, columns, generator=random), full_matrices=False)
    values = 0.1 + 0.9 * torch.rand(values.shape, generator=random)
    found = optimization.orthogonal(scale * left @ values.diag() @ right)
    inner = left.T @ found @ right.T
    torch.testing.assert_close(left @ inner.diag().diag() @ right, found, rtol=0, atol=1e-4)
    assert ((inner.diag() > 0.67) & (inner.diag() < 1.15)).all()


def test_no_gradient_is_no_step():
    assert (optimization.orthogonal(torch.zeros(3, 5)) == 0).all()


def network():
    torch.manual_seed(0)
    first, depthwise = nn.Conv2d(9, 16, 3), nn.Conv2d(16, 16, 3, groups=16)
    layers = [first, nn.BatchNorm2d(16), depthwise, nn.Conv2d(16, 24, 1), nn.Conv2d(24, 4, 1)]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def learn(model, made, numbers):
    """Takes steps, each on gradients of its own number."""
    for number in numbers:
        random = torch.Generator().manual_seed(number)
        for value in model.parameters():
            value.grad = torch.randn(value.shape, generator=random) * 0.01
        made.step()


def test_muon_is_torchs_for_hidden_kernels_and_adamw_for_all_else():
    both = {"learning_rate": 0.01, "weight_decay": 0.1}
    ours, theirs, before = network(), network(), network().state_dict()
    learn(ours, optimization.build_optimizer(ours, settings(optimizer="muon", **both)), range(3))
    matrices = {name: nn.Parameter(before[name].flatten(1).clone()) for name in ("0.weight", "3.weight")}
    muon = torch.optim.Muon(matrices.values(), lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    adamw = optimization.build_optimizer(theirs, settings(optimizer="adamw", **both))
    for number in range(3):
        learn(theirs, adamw, [number])
        for name, matrix in matrices.items():
            matrix.grad = theirs.get_parameter(name).grad.flatten(1)
        muon.step()
    for name, value in ours.state_dict().items():
        if name in matrices:
            # Torch iterates in bfloat16.
            moved, expected = value - before[name], matrices[name].detach().view_as(value) - before[name]
            assert (moved - expected).norm() < 0.03 * expected.norm()
        else:
            assert torch.equal(value, theirs.state_dict()[name])


def test_muon_resumes_to_the_same_weights():
    whole, stopped = network(), network()
    made, begun, resumed = (
        optimization.build_optimizer(model, settings(optimizer="muon")) for model in (whole, stopped, stopped)
    )
    learn(whole, made, range(4))
    learn(stopped, begun, range(2))
    torch.save(begun.state_dict(), file := io.BytesIO())
    resumed.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    learn(stopped, resumed, range(2, 4))
    assert all(torch.equal(value, stopped.state_dict()[name]) for name, value in whole.state_dict().items())


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_step_on_a_gradient_that_is_not_finite_is_left_out(name):
    model, scaler = network(), torch.amp.GradScaler("cpu")
    made = optimization.build_optimizer(model, settings(optimizer=name, weight_decay=0.1))
    for scale in (1.0, float("inf")):
        before = {key: value.clone() for key, value in model.state_dict().items()}
        scaler.scale(sum(value.sum() for value in model.parameters()) * scale).backward()
        scaler.step(made)
        scaler.update()
        made.zero_grad()
        kept = [torch.equal(value, before[key]) for key, value in model.named_parameters()]
        assert all(kept) if scale > 1 else not any(kept)
