"""What `make` says on a machine that lacks something."""

import os
import re
import shutil
import subprocess

import pytest
from clones import TOOLS
from projects import ROOT

# Without what `make test` sets: a make within another one says which folder it is in.
ALONE = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}


def make(folder, *arguments, before=(), **environment):
    command = [*before, "make", *arguments]
    return subprocess.run(command, cwd=folder, env=ALONE | environment, capture_output=True, text=True, check=False)


def complaint_of(folder, *arguments, **options):
    """What a `make` that must fail says."""
    done = make(folder, *arguments, **options)
    assert done.returncode
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.fixture
def folder(tmp_path):
    for name in ("Makefile", "requirements.txt"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    return tmp_path


def test_make_alone_says_what_there_is_and_does_nothing(folder):
    done = make(folder)
    assert done.returncode == 0
    targets = re.findall(r"^\.PHONY: (.*)", (folder / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)[0].split()
    assert [line.split()[0] for line in done.stdout.splitlines()] == targets
    assert all(len(line.split()) > 3 for line in done.stdout.splitlines()), "each with what it does"
    assert sorted(path.name for path in folder.iterdir()) == ["Makefile", "requirements.txt"]


def test_a_folder_that_is_no_clone_and_a_machine_without_git_are_told_so(folder):
    tools = folder / "tools"
    tools.mkdir()
    for name in ("make", "sh", "test"):
        (tools / name).symlink_to(shutil.which(name))
    for path, reason in ((TOOLS, "fatal: not a git repository"), (str(tools), "git: (command )?not found")):
        said = complaint_of(folder, "-o", "install", "submission", PATH=path)
        assert re.search(reason, said)
        assert "error: DVC needs git and a repository (see above): do what git says, install it, or, where" in said


def test_a_read_only_folder_is_told_so(folder):
    read_only = 'mount --bind . . && mount -o remount,ro,bind . && cd "$PWD" && exec "$@"'
    before = ["unshare", "--mount", "sh", "-c", read_only, "sh"]
    if subprocess.run([*before, "true"], cwd=folder, capture_output=True, check=False).returncode:
        pytest.skip("a read-only mount needs root on Linux")
    said = complaint_of(folder, "-o", "install", "submission", before=before)
    assert said.startswith(f"error: {folder} is read-only; clone it to a folder that you may write to")


@pytest.mark.parametrize("python", ["#!/bin/sh\nexit 1\n", None], ids=["old", "missing"])
def test_without_a_new_python_it_says_what_to_do(folder, python):
    if python:
        (folder / "python3.10").write_text(python, encoding="ascii")
        (folder / "python3.10").chmod(0o755)
    advice = "error: ./python3.10 is not Python 3.11 or newer; name one that is, as in `make install PYTHON=python3.12`"
    assert advice in complaint_of(folder, "install", "PYTHON=./python3.10")
    assert not (folder / ".venv").exists()


WORDS = ["$(shell touch ran)", "cost $5, $HOME", "--yes", 'it\'s "so" `ls`', "a\nb", "", "$"]
NOT_SURE = ["0", "no", "", "11", "$(shell touch ran)"]


@pytest.mark.parametrize("way", ["argument", "environment"])
@pytest.mark.parametrize(
    ("words", "yes"), [*((words, "") for words in WORDS), *(("", yes) for yes in ("1", *NOT_SURE))]
)
def test_a_message_arrives_as_it_was_typed_and_only_yes_1_skips_the_question(folder, words, yes, way):
    command = folder / ".venv/bin/carvana"
    command.parent.mkdir(parents=True)
    command.write_text('#!/bin/sh\nprintf "%s\\0" "$@" > arguments\n', encoding="ascii")
    command.chmod(0o755)
    given = {"MESSAGE": words, "YES": yes, "SURE": "--yes"}
    arguments = [f"{name}={value}" for name, value in given.items()]
    submit = ["-o", "install", "submit"]
    done = make(folder, *submit, *arguments) if way == "argument" else make(folder, *submit, **given)
    assert done.returncode == 0, done.stderr
    found = (folder / "arguments").read_text(encoding="utf-8").split("\0")
    assert found == ["submit", f"--message={words}", *["--yes"] * (yes == "1"), ""]
    assert not (folder / "ran").exists()


def test_a_folder_without_room_for_an_environment_is_told_what_to_do(folder):
    (folder / ".venv").touch()  # root may write to any folder, but a file is in the way of all
    said = complaint_of(folder, "install")
    assert "error: .venv could not be made (see above); work in a folder that you may write to, with" in said


@pytest.mark.slow
def test_a_machine_without_network_is_told_what_to_do(folder):
    offline = {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_EXTRA_INDEX_URL": "", "PIP_RETRIES": "0"}
    said = complaint_of(folder, "install", **offline)
    assert "error: the packages above could not be installed; is the network there?" in said
    assert not (folder / ".venv/bin/.installed").exists()
