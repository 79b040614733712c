"""A project whose stages have come to their end, as DVC and git would have left it, ready to be submitted."""

import contextlib
import functools
import gzip
import json
import shutil

import projects
import pytest
from clones import Repository
from competition_files import csv_text, pack
from kaggle_server import Server
from projects import ROOT, make_project
from ruamel.yaml import YAML

from carvana.base import lockfile
from carvana.base.errors import UserError
from carvana.base.params import leaves
from carvana.commands import submit

ROWS = [["img", "rle_mask"], ["011330127438_01.jpg", "1 5"], ["011330127438_02.jpg", "7 2 100 1"]]
LOCK = "dvc.lock"
LOG = "data/submissions.jsonl"
SAMPLE = "data/raw/sample_submission.csv.zip"
SUBMISSION = ["data/submission.csv", "data/submission.csv.gz"]
ALL = ["download", "resize", "split", "label", "train@0", "evaluate", "predict", "encode"]


set_params = functools.partial(projects.set_params, data_source="local")  # of a demo nothing is sent


def git(folder, *arguments):
    return Repository(folder).git("-c", "user.name=somebody", "-c", "user.email=somebody", *arguments).strip()


def commit(folder):
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "state")


def record(folder, *names):
    """Writes into dvc.lock what DVC does after these stages: the hashes of their files and code as they are now."""
    yaml = YAML(typ="safe")
    definitions = yaml.load(folder / "dvc.yaml")["stages"]
    params = leaves(yaml.load(folder / "params.yaml"))
    lock = folder / LOCK
    content = yaml.load(lock) if lock.exists() else {"schema": "2.0", "stages": {}}
    for name in names:
        stage, _, fold = name.partition("@")
        text = json.dumps(definitions[stage])
        for key, value in (params | {"item.fold": fold}).items():
            text = text.replace(f"${{{key}}}", str(value))
        definition = json.loads(text)
        outs = [out if isinstance(out, str) else next(iter(out)) for out in definition["outs"]]
        content["stages"][name] = {
            "cmd": definition["cmd"],
            "deps": [{"path": path, "hash": "md5", "md5": md5_of(folder, path)} for path in definition["deps"]],
            "params": {"params.yaml": {key: params[key] for key in definition.get("params", [])}},
            "outs": [{"path": path, "hash": "md5", "md5": md5_of(folder, path)} for path in outs],
        }
    yaml.dump(content, lock)


def md5_of(folder, path):
    """The MD5 that DVC records for a file or a folder; of those that are not there, all have the same."""
    if path.startswith("src/"):
        return md5_of_code(path)
    return lockfile.md5_of(folder / path) if (folder / path).exists() else "0" * 32


@functools.cache
def md5_of_code(path):
    """The MD5 of the library's code, which no test changes."""
    code = ROOT / path
    if code.is_file():
        return lockfile.md5_of(code)
    md5s = lockfile.md5s_in(code)
    return lockfile.md5_of_folder({name: md5 for name, md5 in md5s.items() if "__pycache__" not in name})


def write_models(folder, content, fold=0):
    for path in (f"models/fold-{fold}.safetensors", f"models/fold-{fold}.csv"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content, encoding="ascii")


def write_evaluation(folder, dice):
    test, validation = ({"images": 16, "dice": each, "dice_worst": 0.8927} for each in (0.9931, dice))
    content = {"test": test, "validation": validation, "model": {"epochs": 6}}
    (folder / "metrics/evaluate.json").write_text(json.dumps(content), encoding="ascii")


def write_submission(folder, rows):
    """submission.csv, as gzip too, and a dvc.lock that has both."""
    text = csv_text(rows).encode()
    for path, data in zip(SUBMISSION, (text, gzip.compress(text, mtime=0)), strict=True):
        (folder / path).write_bytes(data)
    record(folder, "encode")


def log_of(folder):
    return [json.loads(line) for line in (folder / LOG).read_text(encoding="ascii").splitlines()]


def sent(folder):
    """What reaches Kaggle of a submission."""
    with Server() as server, contextlib.chdir(folder):
        submit.main("", sure=True)
    return server.uploads


def refused(folder):
    """What `make submit` says to a submission that it does not send."""
    # A server of its own, so that what is sent by mistake does not reach another test's.
    with Server() as server, contextlib.chdir(folder), pytest.raises(UserError) as error:
        submit.main("", sure=True)
    assert not server.calls
    assert not (folder / LOG).exists()
    assert not (folder / ".work/submit").exists()
    return str(error.value)


def make_finished_project(tmp_path, monkeypatch):
    """A committed project that has come to its end, in a contest as small, and no way to the real Kaggle."""
    monkeypatch.setattr(submit, "TEST_PHOTOS", len(ROWS) - 1)
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "TEST")
    monkeypatch.setenv("KAGGLE_API_TOKEN", "good")
    monkeypatch.setenv("NO_PROXY", "localhost")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    folder = make_project(tmp_path / "project")
    for name in ("dvc.yaml", "stages"):
        (folder / name).unlink()
    for name in ("stages", "teachers"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / ".dvc").mkdir()
    for name in ("dvc.yaml", ".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore"):
        shutil.copyfile(ROOT / name, folder / name)
    set_params(folder, train_seed=42)
    pack(folder / SAMPLE, {"sample_submission.csv": csv_text(ROWS)})
    for name in ("metrics", "data/predictions"):
        (folder / name).mkdir()
    (folder / "data/predictions/0.parquet").write_bytes(b"runs")
    write_models(folder, "model")
    write_evaluation(folder, 0.9947)
    write_submission(folder, ROWS)
    record(folder, *ALL)
    git(folder, "init", "-q", "-b", "trunk")
    commit(folder)
    return folder
