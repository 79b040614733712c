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


def test_one_thread_launches_ahead_until_the_buffers_are_taken():
    seen = []

    def launch(photos, buffer):
        seen.append(threading.get_ident())
        buffer[: len(photos)] = photos[..., 0] * 2.0
        return lambda: None

    begin = engines.launched_ahead(launch, [torch.empty(4, *SIZE) for _ in range(3)])
    photos = torch.arange(40, dtype=torch.uint8)[:, None, None, None].expand(40, *SIZE, 3)
    with ThreadPoolExecutor(4) as pool:

        def read(begun):
            with begun as logits:
                return logits.copy()

        found = list(pool.map(read, (begin(batch) for batch in photos.split(3))))
    assert np.array_equal(np.concatenate(found), photos[..., 0] * 2.0)
    assert len(set(seen)) == 1
    assert seen[0] != threading.get_ident()
    held = [begin(photos[:3]) for _ in range(3)]
    with ThreadPoolExecutor(1) as pool:
        fourth = pool.submit(begin, photos[:3])
        with pytest.raises(TimeoutError):
            fourth.result(timeout=0.2)
        read(held[0])
        read(fourth.result(timeout=10))


def test_what_a_launch_raises_reaches_the_caller_and_frees_its_buffer():
    def launch(photos, buffer):
        raise RuntimeError("out of memory")

    begin = engines.launched_ahead(launch, [torch.empty(1, *SIZE)])
    for _ in range(2):
        with pytest.raises(RuntimeError, match="out of memory"), begin(torch.zeros(1, *SIZE, 3)):
            pass


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
