import re

import pytest
from projects import DVC_LOCK

from carvana.base import lockfile
from carvana.base.errors import UserError
from carvana.commands import unlock

WITHOUT_HASHES = re.sub(", hash: md5, md5: [0-9a-f.dir]+", "", DVC_LOCK)


def test_a_lock_is_read_as_dvc_reads_it():
    stage = lockfile.parse(DVC_LOCK)["train@0"]
    assert stage.deps == {"data/cache": "0123.dir"}
    assert stage.outs == {"models/fold-0.csv": "5eb63bbbe01eeed093cb22bb8f5acdc3"}
    assert stage.params == {"train.weight_decay": 0.00001, "train.folds": [0]}


@pytest.mark.parametrize("text", ["schema: '2.0'\n", DVC_LOCK.replace("md5: ", "etag: "), WITHOUT_HASHES])
def test_what_dvc_reads_is_read(tmp_path, text):
    """Where an MD5 is missing, DVC runs the stage again."""
    (tmp_path / "dvc.lock").write_text(text, encoding="utf-8")
    assert not unlock.is_damaged(tmp_path / "dvc.lock")
    for stage in lockfile.read(tmp_path / "dvc.lock").values():
        assert stage.outs == {"models/fold-0.csv": ""}


@pytest.mark.parametrize("text", ["", "stages", "<<<<<<< ours\n", DVC_LOCK.replace("outs:", "outs: 1 #")])
def test_a_file_that_dvc_did_not_write_is_named(tmp_path, text):
    (tmp_path / "dvc.lock").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"dvc\.lock is not what DVC writes"):
        lockfile.read(tmp_path / "dvc.lock")
