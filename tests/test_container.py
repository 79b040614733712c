"""What the Dockerfile names exists, and what the pipeline makes stays out of the image."""

import re
import subprocess

from projects import ROOT

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
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert [name for name in done.stdout.splitlines() if ignored(name)] == []
    assert not ignored(".git/HEAD")


def test_the_image_has_nothing_that_was_made():
    made = [paths.TRAIN, paths.CACHE / "photos.npy", paths.PREDICTIONS / "0.parquet", paths.SUBMISSION, paths.REPORT]
    made += [paths.TEACHERS / "big/000.parquet", paths.model(0), paths.WORK / "train-0/epoch.pt"]
    made += [".dvc/cache/files/md5/ab/cd", ".dvc/tmp/rwlock", ".venv/bin/python", ".pytest_cache/README.md"]
    made += ["src/carvana/__pycache__/files.cpython-311.pyc"]
    assert [path for path in map(str, made) if not ignored(path)] == []


def test_what_the_dockerfile_and_its_documentation_name_exists():
    copied = re.findall(r"^COPY --chown=\S+ (.+) \S+$", DOCKERFILE, re.MULTILINE)
    assert len(copied) == 2
    assert all((ROOT / name).exists() for names in copied for name in names.split())
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    named = re.findall(r"make ([a-z]+)$", DOCKERFILE, re.MULTILINE) + re.findall(r'"make", "(.+)"', DOCKERFILE)
    assert named == ["install", "submission"]
    assert set(named) <= set(targets)
    arguments = re.findall(r"^ARG (\w+)", DOCKERFILE, re.MULTILINE)
    text = (ROOT / "docs/container.md").read_text(encoding="utf-8")
    assert re.findall(r"--build-arg (\w+)=", text) == arguments
