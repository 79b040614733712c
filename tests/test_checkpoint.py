import pytest
import torch
from conftest import read_network
from safetensors.torch import save_file

from carvana.errors import UserError
from carvana.networks import checkpoint, models

NETWORK = read_network(dropout=0.1)


def test_a_file_is_all_that_prediction_needs(tmp_path):
    torch.manual_seed(0)
    model = models.build(NETWORK)
    model(torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8))  # moves the running averages of batch norm
    checkpoint.save(tmp_path / "fold-0.safetensors", model, NETWORK, (64, 96))
    loaded = checkpoint.load(tmp_path / "fold-0.safetensors")
    photos = torch.randint(0, 256, (1, 64, 96, 3), dtype=torch.uint8)
    assert loaded.size == (64, 96)
    assert not loaded.model.training
    assert torch.equal(loaded.model(photos), model.eval()(photos))


def test_the_same_model_is_the_same_bytes(tmp_path):
    model = models.build(NETWORK)
    for number in range(10):
        checkpoint.save(tmp_path / str(number), model, NETWORK, (64, 96))
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def test_other_files_are_refused_by_name(tmp_path):
    path = tmp_path / "fold-0.safetensors"
    with pytest.raises(UserError, match=r"fold-0\.safetensors is missing"):
        checkpoint.load(path)
    checkpoint.save(path, models.build(NETWORK), NETWORK, (64, 64))
    whole = path.read_bytes()
    for spoiled in (b"", b"pickle", whole[:100], whole[:-10]):
        path.write_bytes(spoiled)
        with pytest.raises(UserError, match="not a complete model"):
            checkpoint.load(path)
    save_file({"weight": torch.zeros(1)}, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match="not a model of this pipeline"):
        checkpoint.load(path)
    deeper = whole.replace(b'depth\\": 3', b'depth\\": 4')
    assert deeper != whole
    path.write_bytes(deeper)
    with pytest.raises(UserError, match="not a complete model"):
        checkpoint.load(path)
