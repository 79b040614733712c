import json
import pickle

import pytest
import torch
from projects import read_network
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from carvana.base.errors import UserError
from carvana.networks import checkpoint, models


@pytest.mark.parametrize(
    "changes",
    [{}, {"depth": 3, "patch": 2, "head": "slides"}, {"batch_norm": False}, {"encoder": "tu-mobilenetv3_small_050"}],
)
def test_a_file_is_all_that_prediction_needs(tmp_path, changes):
    torch.manual_seed(0)
    network = read_network(dropout=0.1, **changes)
    model = models.build(network)
    model(torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8))  # moves the running averages of batch norm
    checkpoint.save(tmp_path / "fold-0.safetensors", model, network, (64, 96))
    loaded = checkpoint.load(tmp_path / "fold-0.safetensors")
    photos = torch.randint(0, 256, (1, 64, 96, 3), dtype=torch.uint8)
    for each in (loaded, pickle.loads(pickle.dumps(loaded))):
        assert each.size == (64, 96)
        assert not each.model.training
        assert torch.equal(each.model(photos), model.eval()(photos))


def test_the_same_model_is_the_same_bytes(tmp_path):
    network = read_network()
    model = models.build(network)
    for number in range(10):
        checkpoint.save(tmp_path / str(number), model, network, (64, 96))
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


@pytest.fixture
def path(tmp_path):
    """The file of a small model."""
    network = read_network(depth=2, width=2)
    checkpoint.save(tmp_path / "fold-0.safetensors", models.build(network), network, (64, 96))
    return tmp_path / "fold-0.safetensors"


def test_other_files_are_refused_by_name(path):
    whole = path.read_bytes()
    deeper = whole.replace(b'depth\\": 2', b'depth\\": 3')
    assert deeper != whole
    for spoiled in (b"", b"pickle", whole[:100], whole[:-10], deeper):
        path.write_bytes(spoiled)
        with pytest.raises(UserError, match=r"fold-0\.safetensors is not a complete model"):
            checkpoint.load(path)
    save_file({"weight": torch.zeros(1)}, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"fold-0\.safetensors is not a model of this pipeline"):
        checkpoint.load(path)
    path.unlink()
    with pytest.raises(UserError, match=r"fold-0\.safetensors is missing"):
        checkpoint.load(path)


def with_header(path, change):
    """Writes a model again with another description, and with the checksum that belongs to it."""
    with safe_open(path, framework="pt") as file:
        description = json.loads(file.metadata()[checkpoint.FORMAT])
    del description["sha256"]
    change(description)
    weights = load_file(path)
    description["sha256"] = checkpoint._checksum(description, weights)
    save_file(weights, path, metadata={checkpoint.FORMAT: json.dumps(description)})


@pytest.mark.parametrize("size", [[0, 0], [-64, 64], [10**9, 64], [64], [64, 64, 64], [64.0, 64.0], [True, 64], "64"])
def test_a_size_that_no_training_has_is_refused(path, size):
    with_header(path, lambda description: description.update(size=[96, 64]))
    assert checkpoint.load(path).size == (96, 64)
    with_header(path, lambda description: description.update(size=size))
    with pytest.raises(UserError, match="not a complete model"):
        checkpoint.load(path)


def test_a_header_with_more_than_it_should_have_is_refused(path):
    with_header(path, lambda description: description.update(other=1))
    with pytest.raises(UserError, match=r"not a complete model .its header has network, size, other"):
        checkpoint.load(path)


def test_a_network_larger_than_its_weights_takes_no_memory(path, monkeypatch):
    with_header(path, lambda description: description["network"].update(width=1024))
    build = models.build

    def on_meta(network):
        assert torch.get_default_device().type == "meta"
        return build(network)

    monkeypatch.setattr(models, "build", on_meta)
    with pytest.raises(UserError, match="its weights are not those of its network"):
        checkpoint.load(path)
