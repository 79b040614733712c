"""A project whose stages have come to their end, as DVC and git would have left it, ready to be submitted."""

import gzip
import json
import os
import shutil
import subprocess

from conftest import ROOT, csv_text, make_project, pack, set_params, stage
from kaggle_server import Server
from ruamel.yaml import YAML

from carvana.base import lockfile

ROWS = [["img", "rle_mask"], ["011330127438_01.jpg", "1 5"], ["011330127438_02.jpg", "7 2 100 1"]]
LOCK = "dvc.lock"
LOG = "data/submissions.jsonl"
SAMPLE = "data/raw/sample_submission.csv.zip"
SUBMISSION = ["data/submission.csv", "data/submission.csv.gz"]
# Dependencies, outputs and parameters of the stages that a submission comes from.
STAGES = {
    "download": ([], [SAMPLE], ["data.source"]),
    "train@0": ([], ["models/fold-0.safetensors", "models/fold-0.csv"], ["train.size", "train.seed"]),
    "train@1": ([], ["models/fold-1.safetensors", "models/fold-1.csv"], ["train.size", "train.seed"]),
    "evaluate": (["models"], ["metrics/evaluate.json"], ["train.folds", "predict.flip", "predict.scales"]),
    "predict": (["models"], ["data/predictions"], ["train.folds"]),
    "encode": (["data/predictions", SAMPLE], SUBMISSION, []),
}


ALL = [name for name in STAGES if not name.endswith("@1")]


def git(folder, *arguments):
    identity = {f"GIT_{who}_{what}": "somebody" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=os.environ | identity, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def commit(folder):
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "state")


def record(folder, *names):
    """Writes into dvc.lock what DVC does after these stages: the hashes of their files as they are now."""
    yaml, lock = YAML(typ="safe"), folder / LOCK
    content = yaml.load(lock) if lock.exists() else {"stages": {}}
    params = yaml.load(folder / "params.yaml")
    for name in names:
        deps, outs, keys = STAGES[name]
        values = {key: params[key.split(".")[0]][key.split(".")[1]] for key in keys}
        # The code that a stage ran may have changed since.
        code = [{"path": "stages/encode.py", "md5": "0" * 32}]
        content["stages"][name] = {
            "deps": code + [{"path": path, "md5": lockfile.md5_of(folder / path)} for path in deps],
            "params": {"params.yaml": values},
            "outs": [{"path": path, "md5": lockfile.md5_of(folder / path)} for path in outs],
        }
    yaml.dump(content, lock)


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


def refused(folder):
    """What `make submit` says to a submission that it does not send."""
    # A server of its own, so that what is sent by mistake does not reach another test's.
    with Server() as server:
        message = stage(folder, "submit", "--yes", status=1)
    assert not server.uploads
    assert not (folder / LOG).exists()
    assert not (folder / ".work/submit").exists()
    assert "Traceback" not in message
    return message


def make_finished_project(tmp_path, monkeypatch):
    """A committed project that has come to its end, and no way to the real Kaggle."""
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "TEST")
    monkeypatch.setenv("KAGGLE_API_TOKEN", "good")
    monkeypatch.setenv("NO_PROXY", "localhost")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    folder = make_project(tmp_path / "project")
    (folder / "dvc.yaml").unlink()
    for name in ("dvc.yaml", ".gitignore"):
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
