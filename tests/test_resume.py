import pytest
import torch
from projects import small_disk

from carvana.training import resume

STATE = {"model": {"weight": torch.arange(12.0)}, "history": [{"epoch": 1, "dice": 0.5}]}


def test_a_changed_bit_is_said(tmp_path, capsys):
    path = tmp_path / "epoch.pt"
    resume.save(path, STATE)
    whole = path.read_bytes()
    assert repr(resume.load(path)) == repr(STATE)
    path.write_bytes(whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:])
    assert resume.load(path) is None
    complaint = "cannot be read (its content does not match its checksum); training starts over"
    assert capsys.readouterr().out == f"{path} {complaint}\n"


def test_a_file_of_an_older_version_is_not_used(tmp_path, capsys):
    torch.save(STATE, tmp_path / "epoch.pt")
    assert resume.load(tmp_path / "epoch.pt") is None
    assert "training starts over" in capsys.readouterr().out
    assert resume.load(tmp_path / "nothing.pt") is None
    assert not capsys.readouterr().out


def test_a_full_disk_says_so_and_the_earlier_state_stays(tmp_path):
    """torch.save itself raises a RuntimeError there (unexpected pos)."""
    with small_disk(tmp_path / "small", "1m"):
        path = tmp_path / "small/epoch.pt"
        resume.save(path, STATE)
        with pytest.raises(OSError, match="No space left"):
            resume.save(path, {"model": torch.zeros(2**19)})
        assert repr(resume.load(path)) == repr(STATE)
        assert [each.name for each in path.parent.iterdir()] == ["epoch.pt"]
