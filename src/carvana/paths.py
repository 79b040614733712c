"""Every path of the pipeline, once, relative to the repository's root; a test holds dvc.yaml against it."""

from pathlib import Path

PARAMS = Path("params.yaml")
PIPELINE = Path("dvc.yaml")

RAW = Path("data/raw")
TRAIN = RAW / "train.zip"
TRAIN_MASKS = RAW / "train_masks.zip"
TEST = RAW / "test.zip"
METADATA = RAW / "metadata.csv.zip"
SAMPLE_SUBMISSION = RAW / "sample_submission.csv.zip"
TEST_MASKS = RAW / "test_masks.csv.zip"

CACHE = Path("data/cache")
SPLIT = Path("data/split.csv")
LOOK = Path("data/look.html")
MODELS = Path("models")
PREDICTIONS = Path("data/predictions")
SUBMISSION = Path("data/submission.csv")
SUBMISSION_GZIP = Path("data/submission.csv.gz")
SUBMISSIONS = Path("data/submissions.jsonl")

EVALUATION = Path("metrics/evaluate.json")
SCORES = Path("metrics/scores.csv")
CURVES = Path("metrics/curves.csv")
THRESHOLDS = Path("metrics/thresholds.csv")
PICTURES = Path("metrics/pictures")
REPORT = Path("metrics/report.html")
LEADERBOARD = Path("metrics/leaderboard.json")

WORK = Path(".work")
PREDICTED = WORK / "predict"
UPLOAD = WORK / "submit"
LOCK = Path("dvc.lock")
DVC_LOCK = Path(".dvc/tmp/rwlock")


def download() -> Path:
    """Where downloads arrive and stay: one folder for the workspace and all experiments that run in copies of it.

    `dvc exp run --temp` and the queue copy the workspace to a folder below its `.dvc/tmp/exps`.
    """
    folder = WORK / "download"
    for parent in Path.cwd().parents:
        if parent.parts[-3:] == (".dvc", "tmp", "exps"):
            return parent.parents[2] / folder
    return folder


def model(fold: int) -> Path:
    """The model whose validation cars are those of `fold`."""
    return MODELS / f"fold-{fold}.safetensors"


def history(fold: int) -> Path:
    """Loss and Dice by epoch of that model's training."""
    return MODELS / f"fold-{fold}.csv"


def report(rank: int) -> Path:
    """What a process of the last prediction has to say of its speed."""
    return WORK / f"predict{f'-{rank}' if rank else ''}.json"


def unfinished(fold: int) -> Path:
    """Where that model's training keeps what it goes on from after a stop."""
    return WORK / f"train-{fold}"
