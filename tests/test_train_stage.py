"""Training that is killed, and training in several processes: as stages, in folders of their own."""

import contextlib
import json
import re
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from projects import (
    ROOT,
    copy_project,
    machines,
    read_params,
    require_done,
    stage,
    stage_alone,
    start,
    wait_for_an_epoch,
)

from carvana.base import unfinished
from carvana.devices import device, distributed
from carvana.networks.checkpoint import load
from carvana.training import history, resume

EVERYTHING = {"train_dropout": 0.2, "train_optimizer": "adamw", "augment_rotation": 10.0}
PLAIN = {"train_batch_norm": False, "train_batch_size": 4, "train_learning_rate": 0.001, "augment_scale": 0.1}


def outcome(folder):
    """The history's numbers, and the weights."""
    epochs = history.read(folder / "models/fold-0.csv")
    weights = load(folder / "models/fold-0.safetensors").model.state_dict()
    return (
        np.array([[epoch.train_loss, epoch.validation_loss, epoch.validation_dice] for epoch in epochs]),
        np.concatenate([value.numpy().ravel() for value in weights.values()]),
    )


@pytest.mark.slow
def test_a_training_killed_thrice_ends_with_the_same_bytes(projects):
    whole = projects("whole", train_epochs=40, **EVERYTHING)
    stage(whole, "train", "0")
    killed = projects("killed", train_epochs=40, **EVERYTHING)
    since = 0.0
    for _ in range(3):
        with start(killed, "train", "0") as process:
            wait_for_an_epoch(killed, process, since)
            process.kill()
        since = max(path.stat().st_mtime for path in killed.glob(".work/train-0/*/epoch.pt"))
        assert not (killed / "models").exists(), "killed too late to show anything"
    (state,) = killed.glob(".work/train-0/*/epoch.pt")
    before = resume.load(state)["seconds"]
    stage(killed, "train", "0")
    for name in ("fold-0.csv", "fold-0.safetensors"):
        assert (killed / "models" / name).read_bytes() == (whole / "models" / name).read_bytes()
    one, other = (json.loads((folder / "metrics/speed/fold-0.json").read_text()) for folder in (whole, killed))
    assert one["photos"] == other["photos"] == 40 * 4
    assert other["seconds"] > before > 0, "all runs together"


@pytest.fixture(scope="module")
def alone(_ready, tmp_path_factory):
    """The outcome of one process, and what it said."""
    folder = copy_project(_ready, tmp_path_factory.mktemp("alone") / "project", train_epochs=4, **PLAIN)
    said = stage(folder, "train", "0")
    return outcome(folder), said


def test_two_processes_train_as_one(projects, alone):
    folder = projects("two", train_epochs=4, runtime_processes=2, **PLAIN)
    (curves, weights), said = alone
    shared = stage_alone(folder, "train", "0")
    plan = "Training unet, 467 parameters, at 64×64: 4 photos, and 4 to validate\n4 epochs of 1 steps, 4 photos a step"
    for each in (said, shared):
        assert each.count(plan) == each.count("Training") == 1
        assert re.findall(r"^epoch (./4): loss .*", each, re.MULTILINE) == ["1/4", "2/4", "3/4", "4/4"]
    assert "threads each, 2 processes" in shared
    other_curves, other_weights = outcome(folder)
    assert np.allclose(curves, other_curves, rtol=1e-3)
    assert np.allclose(weights, other_weights, atol=1e-3)


@pytest.mark.slow
def test_a_killed_process_is_started_again_and_training_goes_on(projects):
    whole = projects("whole", train_epochs=30, **PLAIN)
    stage(whole, "train", "0")
    killed = projects("killed", train_epochs=30, runtime_processes=2, **PLAIN)
    with start(killed, "train", "0") as process:
        wait_for_an_epoch(killed, process)
        ranks(killed)["1"].kill()
        assert process.wait(100) == 0, process.stderr.read()
    assert np.allclose(outcome(whole)[0], outcome(killed)[0], rtol=1e-3)


@pytest.mark.slow
def test_two_processes_train_a_network_with_parameters_that_no_gradient_reaches(projects):
    network = {"train_arch": "pspnet", "train_patch": 1, "train_encoder": "resnet18", "train_batch_size": 2}
    folder = projects("project", runtime_processes=2, **network)
    stage(folder, "train", "0")
    assert len(outcome(folder)[0]) == 1


def test_the_processes_end_with_the_stage(projects):
    folder = projects("project", train_epochs=100_000, runtime_processes=2, **PLAIN)
    with start(folder, "train", "0") as process:
        wait_for_an_epoch(folder, process)
        started = ranks(folder)
        assert len(started) == 2
        process.kill()
    assert not psutil.wait_procs(started.values(), timeout=30)[1]
    assert not ranks(folder)


@pytest.mark.slow
def test_two_machines_share_a_training_and_the_first_alone_writes(projects, alone):
    """Two folders, one process each, that meet at a port: what two machines do."""
    start_on = machines("train", "0")
    folders = [projects(name, train_epochs=4, **PLAIN) for name in ("first", "second")]
    said, _ = require_done(*(start_on(number, folder) for number, folder in enumerate(folders)))
    assert said.startswith(
        "waiting for 2 machines, this one included; on each other one, run `python -m stages.train 0`"
    )
    assert np.allclose(alone[0][0], outcome(folders[0])[0], rtol=1e-3)
    assert not (folders[1] / "models").exists()
    assert not list(folders[1].glob(".work/train-0/**/*"))


@pytest.mark.slow
def test_machines_that_differ_are_refused(projects):
    start_on = machines("train", "0")
    folders = [projects(str(seed), train_seed=seed) for seed in range(2)]
    for process in [start_on(number, folder) for number, folder in enumerate(folders)]:
        assert "the machines differ in train; make them the same" in process.communicate(timeout=100)[1]
        assert process.returncode == 1
    assert not (folders[0] / "models").exists()


def test_unfinished_work_is_of_its_weights_its_packages_and_its_device(projects, monkeypatch):
    """What lies in .work must not be taken for a training with other pretrained weights of the same path.

    Nor with another number of processes, each of which has batch norm of its own on a CPU.
    """
    folder = projects("project")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(ROOT)
    from stages import train  # noqa: PLC0415 - it is a package of the repository, not of the environment

    settings = read_params(train_encoder_weights="weights.pth", train_precision="auto")
    examples = train.read_examples(0, (64, 64))

    def name(kind="cpu"):
        return train.fingerprint(examples, settings, torch.device(kind))

    Path("weights.pth").write_bytes(b"one")
    names = [name(), name("mps")]
    Path("weights.pth").write_bytes(b"two")
    names.append(name())
    monkeypatch.setattr(unfinished, "versions", lambda: ("simplejpeg of tomorrow",))
    names.append(name())
    monkeypatch.setattr(device, "has_bfloat16", lambda _: True)
    names.append(name())
    monkeypatch.setattr(distributed, "gathered", lambda values: values)
    monkeypatch.setattr(distributed, "world", lambda: 2)
    names.append(name())
    assert len(set(names)) == len(names)
    assert name() == name()


def ranks(folder):
    """Processes that torchrun started in a folder, by rank."""
    found = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            environment = process.environ()
            if "LOCAL_RANK" in environment and Path(process.cwd()) == folder.resolve():
                found[environment["RANK"]] = process
    return found
