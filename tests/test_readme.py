"""Every command of the documentation, in its order, in a clone with a tiny demo; minutes, so marked `slow`."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from clones import TOOLS, Clone
from projects import ROOT

from carvana.data.archive import Archive

README = ROOT / "README.md"
# Each begins where the README ends, in a copy of its own.
OTHERS = sorted((ROOT / "docs").glob("*.md"))

# Commands that are not run here, by how they begin.
ELSEWHERE = {
    "make test": "runs this test",
    "make submit": "sends to Kaggle; tests/test_submit.py runs it",
    "make recipe": "tests/test_recipes.py runs it",
    "dvc exp run -n larger": "does the same as the next, at one scale",
    "make bench": "takes 7 minutes",
    "python benchmarks/training.py": "takes minutes",
    "PET_NNODES": "takes two machines; tests/test_train_stage.py and tests/test_predict_stage.py run it",
    "docker ": "takes Docker",
    "pip install": "changes the environment",
    "pip wheel": "tests/test_package.py builds it",
}

ENVIRONMENT = os.environ | {"PATH": TOOLS}


def blocks(document, language):
    """The blocks of a document that are marked with a language, indented or not."""
    return re.findall(rf"```{language}\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL)


def commands(document):
    """The commands of a document in their order, without prompts and comments, continued lines joined."""
    found = []
    for block in blocks(document, "console"):
        joined = re.sub(r"\\\n\s*", "", block)
        found += [line.strip()[2:] for line in joined.splitlines() if line.strip().startswith("$ ")]
    return [re.sub(r"\s+# .*", "", command) for command in found]


def test_commands_that_are_not_run_are_in_the_documents():
    everything = [command for document in (README, *OTHERS) for command in commands(document)]
    for beginning in ELSEWHERE:
        assert any(command.startswith(beginning) for command in everything), beginning


def test_links_between_the_documents_lead_somewhere():
    for document in (README, *OTHERS):
        text = document.read_text(encoding="utf-8")
        for link in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
            path, _, heading = link.partition("#")
            target = document.parent / path if path else document
            assert target.exists(), f"{document.name}: {link}"
            if heading:
                titles = re.findall(r"^#+ (.*)", target.read_text(encoding="utf-8"), re.MULTILINE)
                anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
                assert heading in anchors, f"{document.name}: {link}"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A clone in which every command of the README has been run."""
    clone = Clone(tmp_path_factory.mktemp("readme") / "Straße mit Abstand")
    run_all(README, clone.folder)
    return clone.folder


@pytest.mark.slow
def test_every_command_of_the_readme_runs(finished):
    assert (finished / "data/submission.csv.gz").exists()


@pytest.mark.slow
def test_the_example_for_a_notebook_runs(finished):
    provide_photos(finished)
    (example,) = blocks(README, "python")
    example += "\nassert mask.shape == photo.shape[:2] == (1280, 1918) and mask.max() >= 128 > mask.min()\n"
    # What `make install` does for its environment.
    environment = ENVIRONMENT | {"PYTHONPATH": "src"}
    subprocess.run([sys.executable, "-c", example], cwd=finished, env=environment, check=True)


@pytest.mark.slow
@pytest.mark.parametrize("document", [each for each in OTHERS if commands(each)], ids=lambda each: each.stem)
def test_every_command_of_a_document_runs(finished, document, tmp_path):
    folder = tmp_path / "Straße mit Abstand"
    shutil.copytree(finished, folder, symlinks=True)
    # tests/test_export.py has that of an exported model.
    for example in blocks(document, "python") if document.stem != "export" else ():
        environment = ENVIRONMENT | {"PYTHONPATH": "src"}
        subprocess.run([sys.executable, "-c", example], cwd=folder, env=environment, check=True)
    run_all(document, folder)


def run_all(document, folder):
    beside = folder.parent
    names = {
        "/path/to/storage": str(beside / "storage"),
        "/path/to/carvana": str(beside / "carvana"),
        # The tiny demo has the smaller size already, and 1.25 times that size is not another one.
        "train.size=128": "train.size=96",
        "train.size=512": "train.size=96",
        "train.size=256": "train.size=64",
        "[1.25,1.0]": "[1.5,1.0]",
    }
    for command in commands(document):
        if command.startswith(tuple(ELSEWHERE)):
            continue
        if "447964284e44_01.jpg" in command:
            with Archive(folder / "data/raw/train.zip") as archive:
                names["447964284e44_01.jpg"] = archive.photos[0]
        if "carvana cutout" in command:
            provide_photos(folder)
        if "data.local_dir" in command:
            shutil.copytree(folder / "data/raw", beside / "carvana")
        here = folder
        if command == "dvc pull":
            here = beside / "second machine"
            subprocess.run(["git", "clone", "-q", str(folder), str(here)], check=True)
            command += " && dvc repro"  # noqa: PLW2901
        for name, replacement in names.items():
            command = command.replace(name, replacement)  # noqa: PLW2901
        # The environment is there already; one for each document would also fill the disk.
        command = re.sub(r"\bmake (?=submission|experiments)", "make -o install ", command)  # noqa: PLW2901
        shell = ["bash", "-c", command]
        done = subprocess.run(shell, cwd=here, env=ENVIRONMENT, capture_output=True, text=True, check=False)
        said = f"{document.name}: {command}\n{done.stdout}\n{done.stderr}"
        assert done.returncode == 0, said
        assert "Traceback" not in done.stderr, said
        if here != folder:
            assert "Data and pipelines are up to date" in done.stdout, "nothing is run again on a second machine"


def provide_photos(folder):
    """The user's own photos that the documents speak of."""
    with Archive(folder / "data/raw/test.zip") as archive:
        photos = [archive.read(name) for name in archive.photos[:2]]
    for name in ("my-photos/a.jpg", "my-photos/b.jpg", "more-photos/c.jpg", "car.jpg", "beach.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(photos[name.endswith("b.jpg")])
