"""The cells of docs/notebook.md in a copy of Kaggle's folders: stopped while training, resumed in a new session."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time

import psutil
import pytest
from clones import TOOLS, Clone
from competition_files import write_competition
from projects import ROOT


def cells():
    return re.findall(r"```bash\n(.*?)```", (ROOT / "docs/notebook.md").read_text(encoding="utf-8"), re.DOTALL)


def test_torch_and_torchvision_are_the_only_packages_that_the_notebook_leaves_out():
    command = "grep -v '^torch' requirements.txt"
    assert any(command in cell for cell in cells())
    kept = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    left_out = set((ROOT / "requirements.txt").read_text(encoding="utf-8").split("\n")) - set(kept.split("\n"))
    assert sorted(line.split("==")[0] for line in left_out) == ["torch", "torchvision"]


@pytest.fixture
def session(tmp_path):
    """Runs a cell in a copy of Kaggle's folders, without network if possible; `until` may stop its `timeout`."""
    clone = Clone(tmp_path / "clone")
    clone.write_recipe("large", "# twelve epochs\nparams: {train: {epochs: 12}}\n")
    clone.commit()
    inputs = tmp_path / "kaggle/input"
    write_competition(inputs / "carvana-image-masking-challenge")
    for name in ("carvana", "carvana-kept"):
        (inputs / name).mkdir()
    clone.git("bundle", "create", str(inputs / "carvana/carvana.bundle"), "HEAD", "main")
    (tmp_path / "kaggle/working").mkdir()
    offline = ["unshare", "--net"]
    alone = [] if subprocess.run([*offline, "true"], capture_output=True, check=False).returncode else offline
    # The environment's packages are those of the tests.
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    see_packages = f"echo {sysconfig.get_path('purelib')} > .venv/lib/{python}/site-packages/packages.pth"

    def run(cell, until=None):
        cell = re.sub(r"(?<!\w)/tmp/", f"{tmp_path}/", cell)
        cell = re.sub(r"(?<!\w)/kaggle/", f"{tmp_path}/kaggle/", cell)
        cell = re.sub(r"^pip .*", see_packages, cell, flags=re.MULTILINE)
        command = [*alone, "bash", "-c", cell]
        output = tmp_path / "output"
        with output.open("w") as file:
            process = psutil.Popen(command, cwd=tmp_path, env=os.environ | {"PATH": TOOLS}, stdout=file, stderr=file)
            while process.poll() is None:
                if until and until():
                    next(child for child in process.children(recursive=True) if child.name() == "timeout").terminate()
                    until = None
                time.sleep(0.05)
        text = output.read_text(encoding="utf-8")
        assert process.returncode == 0, text
        assert "Traceback" not in text, text
        return text

    return run


@pytest.mark.slow
def test_a_stopped_session_resumes_in_the_next(session, tmp_path):
    install, _, _, work, resume = cells()
    session(install)
    project, working = tmp_path / "carvana", tmp_path / "kaggle/working"
    # What lists the recipes is run by tests/test_recipes.py.
    text = session(re.sub(".* recipes .*\n", "", work), until=lambda: any(project.glob(".work/train-0/*/epoch.pt")))
    assert "epoch 1/12" in text
    assert "epoch 12/12" not in text
    assert not (working / "submission.csv").exists()

    again = re.sub(r"^sed [^$]*\$DATA.*\n.*\n.*\ntimeout .*\n", resume, work, flags=re.MULTILINE)
    assert again != work
    # A session that has nothing of the last but what it kept.
    shutil.rmtree(project)
    shutil.copyfile(working / "kept.tar", tmp_path / "kaggle/input/carvana-kept/kept.tar")
    session(install)
    text = session(again)
    assert "epoch 1/12" not in text
    assert "epoch 12/12" in text
    submission = (working / "submission.csv").read_bytes()
    assert submission == (project / "data/submission.csv").read_bytes()
