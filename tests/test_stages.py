"""What stages do to data, in folders of their own, on good and on bad input."""

import csv
import json
import re
import shutil

import pytest
from competition_files import csv_text, pack, repack
from projects import make_project, set_params, stage

from carvana.data.archive import Archive
from carvana.kaggle import submission


def read(path):
    """The rows of a CSV, or the content of a JSON file."""
    with path.open(encoding="utf-8") as file:
        return json.load(file) if path.suffix == ".json" else list(csv.DictReader(file))


def results(folder):
    """What the stages after the download have made, by path."""
    files = (path for name in ("data", "models", "metrics") for path in (folder / name).rglob("*"))
    return {path: path.read_bytes() for path in files if path.is_file() and path.parent.name != "raw"}


def test_the_road_from_local_zips_to_a_submission(trained):
    evaluation = read(trained / "metrics/evaluate.json")
    assert [evaluation[role]["images"] for role in ("test", "validation")] == [2, 4]
    assert 0 <= evaluation["test"]["dice_worst"] <= evaluation["test"]["dice"] <= 1
    assert read(trained / "metrics/leaderboard.json") == {"leaderboard": {"images": 0}}
    rows = (trained / "data/submission.csv").read_text(encoding="ascii").splitlines()
    assert [row.split(",")[0] for row in rows] == ["img", "fffe00001111_01.jpg", "fffe00001111_02.jpg"]
    assert "data/submission.csv (0.0 MiB)" in (shown := stage(trained, "summary"))
    (score,) = stage(trained, "score").splitlines()
    assert score in shown
    assert "485,957" not in stage(trained, "layers")


def test_an_evaluation_is_shown_on_one_page_and_as_pictures_of_the_same_names(trained):
    page = (trained / "metrics/report.html").read_text(encoding="utf-8")
    scores = read(trained / "metrics/scores.csv")
    assert sorted(re.findall('<figure id="(.*?)">', page)) == sorted(row["image"] for row in scores)
    # Six tiles of each, wrong pixels of two views, and all four photos on which fold 0 is trained.
    assert page.count("data:image/webp;base64,") == 6 * (4 + 2) + 2 + 4
    assert page.count("<svg") == 7
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page), "it needs nothing from outside"
    assert scores[0].keys() >= {"image", "car", "view", "make", "role", "dice", "wrong", "within_2"}
    names = {f"{row['role']}-{row['image'].removesuffix('.jpg')}" for row in scores}
    assert {path.stem for path in (trained / "metrics/pictures").iterdir()} == {*names, "error-map", "training-samples"}
    before = results(trained)
    said = stage(trained, "evaluate")
    after = results(trained)
    changed = {path.name for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert changed <= {"report.html"}, "the same models give the same bytes; the report has the date"
    scoring = r"Scoring 4 photos of validation cars and 2 of test cars: unet, \d+ parameters, at 64×64\n"
    assert re.match(scoring + r"by torch on cpu in (bfloat16|float32), (\d+) threads; \2 processes decode\n", said)
    *_, test, validation = said.splitlines()
    assert test.startswith("Dice at 1918×1280 on 2 photos of unseen test cars: ")
    assert f"{test}\n{validation}\n" in stage(trained, "summary")


def test_evaluation_is_the_score_of_the_same_images_submitted(trained):
    """The Dice of evaluate.json is that of a submission: photos swapped, `score` gives the same number."""
    shutil.copy(trained / "data/raw/train.zip", trained / "data/raw/test.zip")
    predicting = r"Predicting \d+ photos: unet, \d+ parameters, at 64×64\nby torch on cpu"
    assert re.match(predicting, stage(trained, "predict"))
    scores = read(trained / "metrics/scores.csv")
    with Archive(trained / "data/raw/train.zip") as archive:
        with_names = csv_text([["img", "rle_mask"], *([name, "1 1"] for name in archive.photos)])
    pack(trained / "data/raw/sample_submission.csv.zip", {"sample_submission.csv": with_names})
    stage(trained, "encode")
    dice = submission.score(trained / "data/submission.csv", trained / "data/raw/train_masks.zip")
    assert [row["dice"] for row in scores] == [f"{dice[row['image']]:.6f}" for row in scores]


def test_networks_may_see_larger_photos_than_in_their_training(trained):
    model = (trained / "models/fold-0.safetensors").read_bytes()
    set_params(trained, train_size=[64, 96], predict_scales=[1.5, 1.0])
    for name in ("resize", "label"):
        stage(trained, name)
    complaint = "models/fold-0.safetensors was made for another train.size; `dvc repro train`"
    assert complaint in stage(trained, "evaluate", status=1)
    stage(trained, "train")
    for name in ("evaluate", "predict"):
        assert "parameters, at 96×128 and 64×96" in stage(trained, name)
    set_params(trained, predict_scales=[1.5])
    (trained / "models/fold-0.safetensors").write_bytes(model)
    assert "parameters, at 96×96" in stage(trained, "predict"), "without another training"


def test_every_car_needs_a_role_that_is_one(trained):
    """A test car whose role is misspelt would be trained on, one without a role would not be scored."""
    path = trained / "data/split.csv"
    text = path.read_text(encoding="ascii")
    path.write_text(text.replace(",test", ",tset"), encoding="ascii")
    message = stage(trained, "train", "0", status=1)
    assert "tset' must be a car (12 hexadecimal digits, each once), a comma, and test or a fold's" in message
    path.write_text("".join(line for line in text.splitlines(True) if ",test" not in line), encoding="ascii")
    for command in (["train", "0"], ["evaluate"]):
        message = stage(trained, *command, status=1)
        assert "data/split.csv has no role for a1b2c3d4e5f6; `dvc repro -f split`" in message
    path.write_text(text.replace(",0\n", ",1\n"), encoding="ascii")
    assert "fold 0 has 0 photos to validate and 8 to train on" in stage(trained, "train", "0", status=1)


@pytest.mark.parametrize(
    ("changes", "at", "complaint"),
    [
        ({"train_siez": 64}, "params", "train.siez is not a parameter; did you mean train.size?"),
        ({"runtime_workers": -1}, "params", "runtime.workers"),
        ({"runtime_device": "foo"}, "params", "runtime.device: foo is not available on this machine"),
        ({"split_folds": 5}, "split", "split.folds: 5; use fewer folds"),
        ({"train_learning_rate": 1e30, "train_batch_norm": False, "train_epochs": 20}, "train", "diverged: lower"),
        ({"train_size": 96}, "train", "data/cache was made for another train.size"),
        (
            {"train_depth": 6, "train_patch": 2, "predict_scales": [1.5]},
            "train",
            "predict.scales: 96×96 is not a multiple of 64, which train.patch: 2 and train.depth: 6 require",
        ),
        (
            {"train_depth": 6, "train_patch": 2, "train_epochs": 2, "train_half_size_epochs": 1},
            "train",
            "train.half_size_epochs: 32×32 is not a multiple of 64, which train.patch: 2 and train.depth: 6 require",
        ),
        ({"predict_scales": [1.0, 1.1]}, "params", "1 and 1.1 of train.size both round to 64×64"),
        ({"train_folds": [1]}, "predict", "models/fold-1.safetensors is missing; `dvc repro train`"),
    ],
)
def test_bad_parameters_are_named_and_earlier_results_stay(trained, changes, at, complaint):
    before = results(trained)
    set_params(trained, **changes)
    message = stage(trained, at, status=1)
    assert complaint in message
    assert "Traceback" not in message
    assert results(trained) == before


def test_a_model_of_a_fold_that_is_not_used_is_no_longer_in_the_folder_on_which_stages_depend(project):
    set_params(project, train_folds=[1])
    (project / "models").mkdir()
    names = {f"models/fold-{fold}.{kind}" for fold in (0, 1) for kind in ("csv", "safetensors")}
    for name in names:
        (project / name).write_text(name, encoding="ascii")
    stage(project, "params")
    left = {name for name in names if (project / name).exists()}
    assert left == {name for name in names if "fold-1" in name}
    assert all((project / ".work" / name).read_text(encoding="ascii") == name for name in names - left)


def test_a_missing_zip_is_told_what_makes_it(trained):
    (trained / "data/raw/train.zip").unlink()
    assert "train.zip is missing; `dvc repro download`" in stage(trained, "resize", status=1)


def test_files_that_do_not_belong_together_are_not_used_after_their_download(trained, kaggle):
    repack(kaggle / "train.zip", lambda members: members.update({"331659860e11_02.jpg": b""}))
    message = stage(trained, "download", status=1)
    assert message.startswith("error in download: ")
    assert "train.zip holds train/331659860e11_02.jpg and" in message
    assert "Traceback" not in message


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        ("teachers/big", {"train_pseudo_labels": "big"}),
        ("weights", {"train_encoder_weights": "weights"}),
        ("more.zip", {"train_pseudo_photos": "more.zip"}),
        ("zips", {"data_source": "local", "data_local_dir": "zips"}),
    ],
)
def test_what_a_copy_of_the_workspace_lacks_is_named_with_what_copies_it(project, path, changes):
    (project / path).mkdir(parents=True)
    copy = project / ".dvc/tmp/exps/standalone/tmp1"
    copy.parent.mkdir(parents=True)
    make_project(copy)
    set_params(copy, **changes)
    assert f"add `--copy-paths {path}` to `dvc exp run`" in stage(copy, "params", status=1)
    set_params(project, **changes)
    stage(project, "params")
