"""Every path of the pipeline, relative to the repository's root; a test compares dvc.yaml with it."""

from pathlib import Path

PARAMS = Path("params.yaml")
PIPELINE = Path("dvc.yaml")
RECIPES = Path("recipes")

# A folder of pseudo-labels for each name that train.pseudo_labels may have; the one of `none` has nothing but a README.
TEACHERS = Path("teachers")

RAW = Path("data/raw")
TRAIN = RAW / "train.zip"
TRAIN_MASKS = RAW / "train_masks.zip"
TEST = RAW / "test.zip"
METADATA = RAW / "metadata.csv.zip"
SAMPLE_SUBMISSION = RAW / "sample_submission.csv.zip"
TEST_MASKS = RAW / "test_masks.csv.zip"

CACHE = Path("data/cache")
PSEUDO = Path("data/pseudo")
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
PICTURES = Path("metrics/pictures")
REPORT = Path("metrics/report.html")
LEADERBOARD = Path("metrics/leaderboard.json")
# Not in models/, on which stages depend as a whole: another speed would run them again.
SPEED = Path("metrics/speed")
PREDICTION_SPEED = SPEED / "predict.json"

WORK = Path(".work")
PREDICTED = WORK / "predict"
UPLOAD = WORK / "submit"
LOCK = Path("dvc.lock")
DVC_LOCK = Path(".dvc/tmp/rwlock")
ESTIMATES = WORK / "estimates"


def workspace() -> Path:
    """Returns the folder of the workspace, also for an experiment that runs in a copy of it.

    `dvc exp run --temp` and the queue copy the workspace to a folder below its `.dvc/tmp/exps`.
    """
    copies = [parent for parent in Path.cwd().parents if parent.parts[-3:] == (".dvc", "tmp", "exps")]
    return copies[0].parents[2] if copies else Path()


def download() -> Path:
    """Returns the folder for downloads, which the workspace and its copies share."""
    return workspace() / WORK / "download"


def recipe(name: str) -> Path:
    """Returns the path of the recipe of a name."""
    return RECIPES / f"{name}.yaml"


def model(fold: int) -> Path:
    """Returns the path of the model whose validation cars are those of `fold`."""
    return MODELS / f"fold-{fold}.safetensors"


def history(fold: int) -> Path:
    """Returns the path of that model's loss and Dice by epoch."""
    return MODELS / f"fold-{fold}.csv"


def training_speed(fold: int) -> Path:
    """Returns the path of the record of how long that model's training took."""
    return SPEED / f"fold-{fold}.json"


def unfinished(fold: int) -> Path:
    """Returns the folder with the state from which that model's training resumes."""
    return WORK / f"train-{fold}"
