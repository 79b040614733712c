import os

import pytest
import torch
from projects import small_disk

from carvana.training import resume

STATE = {"model": {"weight": torch.arange(12.0)}, "history": [{"epoch": 1, "dice": 0.5}]}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda whole: whole[:0],
        lambda whole: whole[:-100],
        lambda whole: whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:],
        lambda whole: whole[32:],  # as an older version wrote it, without a checksum
    ],
)
def test_a_state_that_is_not_as_it_was_written_is_said_and_not_used(tmp_path, capsys, spoil):
    path = tmp_path / "epoch.pt"
    assert resume.load(path) is None
    resume.save(path, STATE)
    assert repr(resume.load(path)) == repr(STATE)
    path.write_bytes(spoil(path.read_bytes()))
    assert resume.load(path) is None
    complaint = "cannot be read (its content does not match its checksum); training starts over"
    assert capsys.readouterr().out == f"{path} {complaint}\n"


def test_a_state_runs_no_code(tmp_path, capsys):
    class Malice:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "run"),)

    resume.save(tmp_path / "epoch.pt", {"model": Malice()})
    assert resume.load(tmp_path / "epoch.pt") is None
    assert "training starts over" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


def test_a_full_disk_says_so_and_the_earlier_state_stays(tmp_path):
    """torch.save itself raises a RuntimeError there (unexpected pos)."""
    with small_disk(tmp_path / "small", "1m"):
        path = tmp_path / "small/epoch.pt"
        resume.save(path, STATE)
        with pytest.raises(OSError, match="No space left"):
            resume.save(path, {"model": torch.zeros(2**19)})
        assert repr(resume.load(path)) == repr(STATE)
        assert [each.name for each in path.parent.iterdir()] == ["epoch.pt"]
