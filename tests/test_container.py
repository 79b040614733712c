"""What the Dockerfile names exists, and what the pipeline makes stays out of the image."""

import re
import subprocess

import pytest
from conftest import ROOT

from carvana.base import paths

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def ignored(path):
    """Whether Docker leaves a file out: the last pattern counts that matches the file or a folder above it."""
    parts = path.split("/")
    above = ["/".join(parts[: end + 1]) for end in range(len(parts))]
    out = False
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            pattern = re.escape(line.removeprefix("!")).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
            if any(re.fullmatch(pattern, name) for name in above):
                out = not line.startswith("!")
    return out


def test_the_image_has_every_file_of_the_repository():
    files = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert [name for name in files if ignored(name)] == []
    assert not ignored(".git/HEAD")


@pytest.mark.parametrize(
    "path",
    [
        paths.TRAIN,
        paths.CACHE / "photos.npy",
        paths.PREDICTIONS / "0.parquet",
        paths.SUBMISSION,
        paths.TEACHERS / "big/000.parquet",
        paths.model(0),
        paths.REPORT,
        paths.WORK / "train-0/epoch.pt",
        ".dvc/cache/files/md5/ab/cd",
        ".dvc/tmp/rwlock",
        ".venv/bin/python",
        "src/carvana/__pycache__/files.cpython-311.pyc",
        ".pytest_cache/README.md",
    ],
    ids=str,
)
def test_the_image_has_nothing_that_was_made(path):
    assert ignored(str(path))


def test_what_the_dockerfile_names_exists():
    copied = re.findall(r"^COPY --chown=\S+ (.+) \S+$", DOCKERFILE, re.MULTILINE)
    assert len(copied) == 2
    assert all((ROOT / name).exists() for names in copied for name in names.split())
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    named = re.findall(r"make ([a-z]+)$", DOCKERFILE, re.MULTILINE) + re.findall(r'"make", "(.+)"', DOCKERFILE)
    assert named == ["install", "submission"]
    assert set(named) <= set(targets)


def test_the_documentation_builds_with_an_argument_that_the_dockerfile_has():
    arguments = re.findall(r"^ARG (\w+)", DOCKERFILE, re.MULTILINE)
    text = (ROOT / "docs/container.md").read_text(encoding="utf-8")
    assert re.findall(r"--build-arg (\w+)=", text) == arguments
