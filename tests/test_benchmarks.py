"""Every benchmark that takes minutes, in seconds."""

import os
import subprocess
import sys

import pytest
from projects import ROOT
from test_inference import trained

from carvana.networks import checkpoint


def run(name, *arguments):
    """Returns the words that a benchmark prints."""
    command = [sys.executable, f"benchmarks/{name}.py", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_prediction_keeps_a_device_busy_and_with_a_single_buffer_does_not():
    several, single = (float(run("pipeline", "--photos", 320, "--rows", 1, "--buffers", count)[-1]) for count in (3, 1))
    assert several > 0.8
    assert single < 0.7


@pytest.mark.slow
def test_prediction_is_compared_with_the_plain_route(tmp_path, _competition):
    model = trained(0)
    checkpoint.save(tmp_path / "model.safetensors", model.model, model.network, model.size)
    inputs = ("--model", tmp_path / "model.safetensors", "--zip", _competition[0] / "test.zip")
    assert {"plain", "torch", "limits:"} <= set(run("prediction", *inputs, "--photos", 24, "--rounds", 1))


@pytest.mark.slow
def test_training_is_compared_with_the_plain_loop():
    assert {"plain", "project", "pipeline"} <= set(run("training", "--size", 64, "--rounds", 1))


@pytest.mark.slow
def test_what_a_gpu_could_do_is_measured_on_any_device(_competition):
    """The steps of a device that this machine may lack, by the only one that it surely has."""
    photos = _competition[0] / "test.zip"
    arguments = ("--recipes", "--resnet", 64, "--seconds", 0.1, "--several", 1, "--zip", photos)
    assert {'"whole":', '"ratio":', '"step":', '"upload":'} <= set(run("gpu", *arguments))
