"""Every command of the documentation, in its order, in a clone with a tiny demo; minutes, so marked `slow`."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from test_pipeline import Clone

from carvana.data.archive import Archive

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

# Commands that are not run here, by how they begin.
ELSEWHERE = {
    "make test": "runs this test",
    "make submit": "sends to Kaggle; tests/test_submit.py runs it",
    "dvc exp run -S data.source=kaggle": "fetches from Kaggle; tests/test_client.py runs it",
    "PET_NNODES": "takes two machines; tests/test_train_stage.py runs it",
    "pip install": "changes the environment",
    "WEIGHTS=": "takes a package that is not required",
    "LITE=": "takes a package that is not required",
    "dvc exp run $LITE": "takes an hour",
    "dvc exp run -S train.size=1024": "takes a GPU",
}


def commands():
    """The commands of all documents in their order, without prompts and comments, continued lines joined."""
    found = []
    for document in DOCUMENTS:
        for block in re.findall(r"```console\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL):
            joined = re.sub(r"\\\n\s*", "", block)
            found += [line.strip()[2:] for line in joined.splitlines() if line.strip().startswith("$ ")]
    return [re.sub(r"\s+# .*", "", command) for command in found]


def test_commands_that_are_not_run_are_in_the_documents():
    for beginning in ELSEWHERE:
        assert any(command.startswith(beginning) for command in commands()), beginning


@pytest.mark.slow
def test_every_command_of_the_documents_runs(tmp_path):
    clone = Clone(tmp_path / "Straße mit Abstand")
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    names = {
        "/path/to/storage": str(tmp_path / "storage"),
        "/path/to/carvana": str(tmp_path / "carvana"),
        # The tiny demo has the smaller size already.
        "train.size=64": "train.size=96",
    }
    todo = [command for command in commands() if not command.startswith(tuple(ELSEWHERE))]
    for command in todo:
        if "447964284e44_01.jpg" in command:
            with Archive(clone.folder / "data/raw/train.zip") as archive:
                names["447964284e44_01.jpg"] = archive.photos[0]
        if "stages.cutout" in command:
            provide_photos(clone.folder)
        if "data.local_dir" in command and not (tmp_path / "carvana").exists():
            shutil.copytree(clone.folder / "data/raw", tmp_path / "carvana")
        folder = clone.folder
        if command == "dvc pull":
            folder = tmp_path / "second machine"
            clone.git("clone", "-q", str(clone.folder), str(folder))
            command += " && dvc repro"  # noqa: PLW2901
        for name, here in names.items():
            command = command.replace(name, here)  # noqa: PLW2901
        # The environment is there already.
        command = command.replace("make submission", "make -o install submission")  # noqa: PLW2901
        done = subprocess.run(
            ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, f"{command}\n{done.stderr}"
        if folder != clone.folder:
            assert "Data and pipelines are up to date" in done.stdout, "nothing is run again on a second machine"


def provide_photos(folder):
    """The user's own photos that the documents speak of."""
    with Archive(folder / "data/raw/test.zip") as archive:
        photos = [archive.read(name) for name in archive.photos[:2]]
    for name in ("my-photos/a.jpg", "my-photos/b.jpg", "more-photos/c.jpg", "car.jpg", "beach.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(photos[name.endswith("b.jpg")])
    shutil.make_archive(str(folder / "my-photos"), "zip", folder / "my-photos")
