import importlib.util
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from projects import ROOT, read_network, read_params

from carvana.networks import models
from carvana.prediction import engines
from carvana.prediction.settings import Settings, choose_engine

SIZE = (64, 96)


def test_an_engine_that_is_not_installed_is_replaced_with_a_word(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert choose_engine("openvino") == "torch"
    assert "openvino is not installed" in capsys.readouterr().err
    assert choose_engine("auto") == "torch"
    assert not capsys.readouterr().err
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: "there")
    assert [choose_engine(name) for name in ("auto", "openvino", "torch")] == ["openvino", "openvino", "torch"]


@pytest.mark.skipif(not importlib.util.find_spec("openvino"), reason="openvino is not installed")
def test_openvino_gives_torchs_logits_to_several_threads():
    torch.manual_seed(0)
    network = models.build(read_network(depth=3, width=4)).eval()
    photos = np.random.default_rng(0).integers(0, 256, (12, *SIZE, 3), dtype=np.uint8)
    made = []
    with engines.one_core_a_thread(), ThreadPoolExecutor(4) as pool:
        for name in ("torch", "openvino"):
            how = Settings.of(read_params(runtime_engine=name, runtime_device="cpu"))
            made.append(np.concatenate(list(pool.map(engines.build(network, SIZE, how).compute, photos[:, None]))))
    expected, found = made
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_one_thread_computes_for_all_callers():
    seen = []

    def compute(photos):
        seen.append(threading.get_ident())
        return photos * 2.0

    by_one = engines.by_one_thread(compute)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(by_one, np.arange(40)))
    assert np.array_equal(found, np.arange(40) * 2.0)
    assert len(set(seen)) == 1
    assert seen[0] != threading.get_ident()
    with pytest.raises(TypeError, match="unsupported operand"):
        by_one(None)


SIGNALLED = """
import os, signal, sys, threading
import numpy as np
from projects import read_network, read_params
from carvana.networks import models
from carvana.prediction import engines
from carvana.prediction.settings import Settings

how = Settings.of(read_params(runtime_engine="openvino", runtime_device="cpu"))
held = [engines.build(models.build(read_network()), (64, 96), how)]
held[0].compute(np.zeros((1, 64, 96, 3), np.uint8))
last = threading.Thread(target=held.clear)
last.start()
last.join()
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.skipif(not importlib.util.find_spec("openvino"), reason="openvino is not installed")
def test_a_signal_after_openvino_was_freed_in_a_thread_is_handled():
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])}
    command = [sys.executable, "-c", SIGNALLED]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr


def test_torch_keeps_its_threads_for_what_comes_after():
    torch.set_num_threads(2)
    with engines.one_core_a_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
