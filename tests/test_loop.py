import os
import resource
import sys
from dataclasses import astuple

import numpy as np
import psutil
import pytest
import torch
from conftest import both_precisions
from projects import read_params

from carvana.base import unfinished
from carvana.base.errors import UserError
from carvana.data import cache
from carvana.devices import device, distributed
from carvana.masks import metrics
from carvana.masks.fullsize import runs_of_logits
from carvana.networks.models import Model
from carvana.training import loop, plan, resume
from carvana.training.batches import reader_of
from carvana.training.examples import Examples

CPU = torch.device("cpu")
TINY = {"size": 64, "patch": 1, "depth": 3, "width": 4, "epochs": 2, "batch_size": 4}
CHANGED = {"flip": 0.5, "rotation": 20.0, "brightness": 0.2}


@pytest.fixture(scope="module")
def examples(small_cache):
    return Examples.of(small_cache, np.arange(8), np.arange(8, 10))


@pytest.fixture(scope="module")
def labelled(_competition, examples, tmp_path_factory):
    """The same examples, with pseudo-labels for two photos of test.zip."""
    folder = tmp_path_factory.mktemp("pseudo") / "pseudo"
    names = ["fffe00001111_01.jpg", "fffe00001111_02.jpg"]
    runs = examples.cache.read_truth(np.arange(2))
    cache.write_labelled(_competition[0] / "test.zip", names, runs, folder, (64, 64), 1)
    return Examples.of(examples.cache, examples.train, examples.validation, cache.read(folder, labelled=True))


def settings(**changes):
    return read_params(**{f"train_{key}": value for key, value in (TINY | changes).items()}).train


def limits(**changes):
    """Without close-ups, which take longer to learn."""
    return read_params(**{f"augment_{key}": value for key, value in ({"close_up": 0.0} | changes).items()}).augment


def fit(examples, saved, augment=None, **changes):
    state = loop.fit(examples, settings(**changes), augment or limits(), 2, CPU, saved)
    return state.model, state.history


def validate(model, examples, **changes):
    made = settings(**changes)
    with reader_of(examples.cache, plan.photos_at_a_time(made), 0, CPU) as read:
        return loop.validate(model, examples, made, 2, read)


@pytest.fixture(scope="module")
def finished(examples, tmp_path_factory):
    """A training that is done: its file, its model and its history."""
    path = tmp_path_factory.mktemp("finished") / "epoch.pt"
    return path, *fit(examples, path)


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("changes", "augment", "share_of_loss", "dice"),
    [
        ({}, {}, 0.6, 0.9),
        ({"loss": "bce", "optimizer": "adamw", "weight_decay": 0.01, "schedule": "constant"}, CHANGED, 0.8, 0.75),
        ({"loss": "bce", "accumulate": 2, "masks": "hard", "patch": 2, "width": 8}, CHANGED, 0.8, 0.75),
        ({"width": 8, "precision": "bfloat16", "upsampling": "bilinear"}, CHANGED, 0.8, 0.75),
        ({"epochs": 24, "half_size_epochs": 12}, {}, 0.6, 0.9),
        ({"epochs": 14, "precision": "float16", "upsampling": "transposed"}, CHANGED, 0.8, 0.75),
    ],
)
def test_every_way_of_training_learns_ellipses(examples, changes, augment, share_of_loss, dice):
    _, history = fit(examples, None, limits(**augment), **{"epochs": 20, "learning_rate": 0.01} | changes)
    assert history[-1].train_loss < history[0].train_loss * share_of_loss
    assert max(epoch.validation_dice for epoch in history) > dice


def test_the_same_seed_is_the_same_model_and_another_is_not(examples, finished):
    model = finished[1]
    assert equal(model.state_dict(), fit(examples, None)[0].state_dict())
    assert not equal(model.state_dict(), fit(examples, None, seed=1)[0].state_dict())


@both_precisions
def test_the_model_is_that_of_its_best_epoch_at_full_size(examples, tmp_path):
    model, history = fit(examples, tmp_path / "epoch.pt", epochs=6, learning_rate=0.03)
    highest = max(epoch.validation_dice_full_size for epoch in history)
    scores = validate(model, examples)
    assert scores[2] == pytest.approx(highest)
    with torch.inference_mode(), device.precision(CPU):
        logits = model(torch.from_numpy(examples.cache.read_photos(examples.validation))).numpy()
    truth = examples.cache.read_truth(examples.validation)
    pairs = zip(logits, truth, strict=True)
    dice = [metrics.overlap_of_runs(runs_of_logits(one, 0.5), runs).dice for one, runs in pairs]
    assert scores[2] == pytest.approx(np.mean(dice))


def test_the_first_epochs_see_half_the_size_and_count_a_quarter(examples, monkeypatch, capsys):
    seen, counted, apply = [], [], loop.Augmentation.apply
    monkeypatch.setattr(loop.Augmentation, "apply", lambda *all: seen.append(all[1].shape[1:3]) or apply(*all))
    monkeypatch.setattr(loop.Bar, "close", lambda bar: counted.append((bar.n, bar.total)))
    fit(examples, None, epochs=3, half_size_epochs=2)
    steps_of_an_epoch = 2  # 8 photos, 4 at a time
    assert seen == [(32, 32)] * 2 * steps_of_an_epoch + [(64, 64)] * steps_of_an_epoch
    assert set(counted) == {(8 / 4 + 8 / 4 + 8,) * 2}
    assert "3 epochs of 2 steps, 4 photos a step, the first 2 at half the size\n" in capsys.readouterr().out


def test_pseudo_labels_are_trained_on_in_their_share_and_never_validated_on(labelled, monkeypatch):
    seen, read = [], cache.Cache.read_photos
    monkeypatch.setattr(cache.Cache, "read_photos", lambda made, rows: seen.append(rows) or read(made, rows))
    fit(labelled, None, epochs=2, pseudo_share=0.5)
    per_epoch = 4 + 1  # steps of 4 of 16 photos, and one piece to validate
    assert [(rows >= 10).sum() for rows in seen] == [2, 2, 2, 2, 0] * 2
    for start in (0, per_epoch):
        order = np.concatenate(seen[start : start + per_epoch - 1])
        assert sorted(order[order < 10]) == list(range(8))
        assert sorted(seen[start + per_epoch - 1]) == [8, 9]


@pytest.mark.parametrize(("batch_size", "accumulate"), [(4, 4), (6, 3)])
def test_pieces_of_a_batch_are_the_batch_but_for_batch_norm(examples, batch_size, accumulate):
    options = {"batch_norm": False, "batch_size": batch_size}
    whole, pieces = (fit(examples, None, accumulate=count, **options)[1] for count in (1, accumulate))
    assert np.allclose([astuple(epoch) for epoch in whole], [astuple(epoch) for epoch in pieces], rtol=1e-3)


@pytest.mark.parametrize(("batch_size", "accumulate"), [(1, 1), (4, 4)])
def test_pieces_of_a_single_photo_are_refused_if_batch_norm_needs_two(examples, batch_size, accumulate):
    """As in a network that pools a photo into a single value."""
    changes = {"batch_size": batch_size, "accumulate": accumulate, "patch": 1}
    with pytest.raises(UserError, match=r"train\.arch: deeplabv3 .* train\.batch_size.*train\.accumulate"):
        fit(examples, None, arch="deeplabv3", encoder="resnet18", **changes)
    fit(examples, None, **changes)


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_batches_and_their_pieces_are_all_photos_in_order_and_of_nearly_one_size(monkeypatch, world, accumulate):
    """No process computes a photo that another computes too: it would be twice in a shared batch norm."""
    monkeypatch.setattr(distributed, "world", lambda: world)
    made = settings(batch_size=world * accumulate * 2, accumulate=accumulate)
    for count in range(world * accumulate, 60):
        batches = plan.batches_of(np.arange(count), made)
        assert np.concatenate(batches).tolist() == list(range(count))
        sizes = [len(batch) for batch in batches]
        assert max(sizes) - min(sizes) <= 1
        assert count < made.batch_size or min(sizes) >= made.batch_size
        for batch in batches:
            pieces = []
            for rank in range(world):
                monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
                pieces += plan.pieces_of(batch, made)
            assert np.concatenate(pieces).tolist() == list(range(len(batch)))
            assert min(map(len, pieces)) >= 1
            assert max(map(len, pieces)) - min(map(len, pieces)) <= 1


@pytest.mark.parametrize(("batch_size", "world", "accumulate"), [(4, 3, 1), (4, 2, 4), (16, 8, 2)])
def test_a_batch_that_cannot_be_shared_equally_is_refused(monkeypatch, batch_size, world, accumulate):
    monkeypatch.setattr(distributed, "world", lambda: world)
    made = read_params(train_batch_size=batch_size, train_accumulate=accumulate).train
    with pytest.raises(UserError, match=rf"make it a multiple of {world * accumulate}"):
        plan.require_equal_pieces(8, made)


def test_validation_holds_no_more_photos_than_a_step_of_training(examples):
    model, _ = fit(examples, None, epochs=1)
    whole = validate(model, examples, batch_size=2)
    seen = []
    model.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
    assert validate(model, examples, batch_size=2, accumulate=2) == pytest.approx(whole)
    assert seen == [1, 1]


def test_a_loss_that_is_not_finite_stops_at_its_step(examples):
    with pytest.raises(UserError, match=r"the loss is \w+ at epoch \d+, step \d; lower train\.learning_rate"):
        fit(examples, None, epochs=20, learning_rate=1e30, batch_norm=False)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's memory")
def test_too_little_memory_says_what_to_lower(examples):
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + 2**30, before[1]))
    try:
        with pytest.raises(UserError, match=r"(?s)^out of memory.*; lower train\.size$"):
            fit(examples, None, width=1024, batch_size=8, epochs=1)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def test_too_little_memory_for_a_batch_names_the_pieces_that_fit(examples, monkeypatch):
    forward = Model.forward

    def limited(model, photos):
        if len(photos) > 2:
            raise torch.OutOfMemoryError("3 photos")
        return forward(model, photos)

    monkeypatch.setattr(Model, "forward", limited)
    with pytest.raises(UserError, match=r"^out of memory \(3 photos\); train\.accumulate: 4 fits$"):
        fit(examples, None, batch_size=8, epochs=1)
    assert fit(examples, None, batch_size=8, accumulate=4, epochs=1)


def test_a_stopped_training_ends_with_the_weights_of_one_that_was_not(labelled, tmp_path, monkeypatch):
    def run(path):
        # Everything with a state of its own, or with chance in it.
        stateful = {"dropout": 0.2, "optimizer": "adamw", "weight_decay": 0.01}
        return fit(labelled, path, limits(**CHANGED), **stateful, epochs=5)

    whole, history = run(None)
    save = resume.save

    def save_and_stop(path, state):
        save(path, state)
        if len(state["history"]) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(resume, "save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped")
    monkeypatch.setattr(resume, "save", save)
    resumed, resumed_history = run(tmp_path / "stopped")
    assert equal(whole.state_dict(), resumed.state_dict())
    assert history == resumed_history


def test_a_state_that_lacks_a_part_is_named(examples, finished, tmp_path):
    kept = resume.load(finished[0])
    del kept["optimizer"]
    resume.save(tmp_path / "epoch.pt", kept)
    with pytest.raises(UserError, match=r"epoch\.pt is not the state of a training; remove it"):
        fit(examples, tmp_path / "epoch.pt")


def test_a_finished_training_is_not_done_again(examples, finished, monkeypatch):
    path, model, history = finished
    monkeypatch.setattr(loop, "train_epoch", None)
    again, same_history = fit(examples, path)
    assert equal(model.state_dict(), again.state_dict())
    assert history == same_history


def test_a_fingerprint_changes_with_parameters_and_code(tmp_path):
    code = tmp_path / "code.py"

    def name(text="a = 1", **inputs):
        code.write_text(text, encoding="utf-8")
        return unfinished.fingerprint(inputs, [code])

    assert name(train="1", cache="2") == name(cache="2", train="1")
    assert len({name(train="1"), name(train="2"), name("a = 2", train="1")}) == 3


def test_the_latest_three_trainings_are_kept(tmp_path):
    for number in range(5):
        folder = unfinished.subfolder(tmp_path, str(number))
        os.utime(folder, (number, number))
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["2", "3", "4"]


def test_a_piece_is_scored_when_the_next_one_has_been_computed():
    made = []
    seen = [(each, len(made)) for each in loop.one_behind(made.append(each) or each for each in range(3))]
    assert seen == [(0, 2), (1, 3), (2, 3)]
