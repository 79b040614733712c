"""The stage that downloads from Kaggle, as a user and as DVC run it."""

import random
import shutil
import subprocess
import sys

import pytest
from competition_files import repack
from projects import ROOT, make_project, set_params, stage

NAME = "train.zip"


def test_the_stage_fetches_what_the_quality_names_and_dvcs_cache_shares_its_bytes(server, tmp_path, _competition):
    for path in _competition[0].iterdir():
        name = path.name.replace("train.zip", "train_hq.zip").replace("test.zip", "test_hq.zip")
        server.files[name] = path.read_bytes()
    project = make_project(tmp_path / "project")
    set_params(project, data_source="kaggle", data_quality="hq")
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        subprocess.run([*command], cwd=project, check=True, timeout=60)
    shutil.copyfile(ROOT / ".dvc/config", project / ".dvc/config")
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q", "-s", "download"], cwd=project, check=True, timeout=100)
    cached = {path.stat().st_ino for path in project.glob(".dvc/cache/files/md5/*/*")}
    for path in _competition[0].iterdir():
        assert (project / "data/raw" / path.name).read_bytes() == path.read_bytes()
        assert (project / "data/raw" / path.name).stat().st_ino in cached
    assert (project / "data/raw/test_masks.csv.zip").exists()
    assert (project / ".work/download/train_hq.zip/train_hq.zip").stat().st_ino in cached


@pytest.mark.slow
def test_experiments_share_their_workspaces_download(server, tmp_path, _competition):
    """`dvc exp run --temp` and the queue run in copies of the workspace, below its .dvc/tmp/exps."""
    zips = shutil.copytree(_competition[0], tmp_path / "zips")
    # A file that is no photo, and large, so that what its buffers take does not count.
    repack(zips / NAME, lambda members: members.update({".large": random.Random(0).randbytes(2 * 10**7)}))
    server.files = {path.name: path.read_bytes() for path in zips.iterdir()}
    server.bytes_a_second = 5 * 10**6
    workspace = make_project(tmp_path / "workspace")
    set_params(workspace, data_source="kaggle")
    copies = [workspace / ".dvc/tmp/exps" / name for name in ("tmp1", "standalone/tmp2")]
    for copy in copies:
        copy.parent.mkdir(parents=True, exist_ok=True)
        make_project(copy)
        set_params(copy, data_source="kaggle")
    command = [sys.executable, "-m", "stages.download"]
    started = [subprocess.Popen(command, cwd=copy, stderr=subprocess.PIPE, text=True) for copy in copies]
    messages = [process.communicate(timeout=60)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], messages
    assert sum("waiting for another download (process" in message for message in messages) == 1
    server.bytes_a_second = None
    stage(workspace, "download")
    for name, data in server.files.items():
        for folder in (workspace, *copies):
            assert (folder / "data/raw" / name).read_bytes() == data
    assert server.served[NAME] < 1.2 * len(server.files[NAME])
