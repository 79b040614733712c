import gzip

import numpy as np
import pytest
from competition_files import csv_text, gif, pack

from carvana.base.errors import UserError
from carvana.competition import HEIGHT, SUBMISSION_HEADER, WIDTH, mask_of
from carvana.kaggle import submission
from carvana.masks import rle, shards

IMAGES = ["011330127438_01.jpg", "011330127438_02.jpg", "502733994e02_01.jpg"]
RUNS = {
    IMAGES[0]: np.array([[1, 2], [HEIGHT * WIDTH, 1]], np.int32),
    IMAGES[1]: np.empty((0, 2), np.int32),
    IMAGES[2]: np.array([[100, 50]], np.int32),
}


def write_csv(path, rows):
    path.write_text(csv_text([SUBMISSION_HEADER, *rows]), encoding="ascii")
    return path


def write(folder, runs, images):
    """Writes submission.csv and submission.csv.gz in the folder, for a sample submission of some images."""
    sample = folder / "sample_submission.csv.zip"
    pack(sample, {"sample_submission.csv": csv_text([SUBMISSION_HEADER, *([image, "1 1"] for image in images)])})
    for number, photos in enumerate(shards.plan(list(runs))):
        shards.write(shards.path_of(folder / "predictions", number), photos, [runs[photo] for photo in photos])
    files = (folder / "submission.csv", folder / "submission.csv.gz")
    return submission.write(folder / "predictions", sample, *files)


@pytest.mark.parametrize("order", [IMAGES, IMAGES[::-1]])
def test_rows_follow_the_sample_and_an_empty_mask_is_an_empty_value(tmp_path, order):
    assert write(tmp_path, RUNS, order) == 3
    texts = {IMAGES[0]: f"1 2 {HEIGHT * WIDTH} 1", IMAGES[1]: "", IMAGES[2]: "100 50"}
    rows = "img,rle_mask\n" + "".join(f"{image},{texts[image]}\n" for image in order)
    assert (tmp_path / "submission.csv").read_text(encoding="ascii") == rows
    assert gzip.decompress((tmp_path / "submission.csv.gz").read_bytes()).decode("ascii") == rows


@pytest.mark.parametrize(
    ("images", "last", "complaint"),
    [
        ([*IMAGES, "fffe00001111_01.jpg"], [100, 50], "that .*missing in .*predictions: fffe00001111_01.jpg"),
        (IMAGES[:2], [100, 50], "predictions has images that .* does not name: 502733994e02_01.jpg"),
        ([*IMAGES, IMAGES[0]], [100, 50], "two rows for 011330127438_01.jpg"),
        (IMAGES, [HEIGHT * WIDTH, 2], r"502733994e02_01\.jpg: run 1 .* leaves the picture"),
    ],
)
def test_what_does_not_fit_is_refused_and_the_earlier_file_stays(tmp_path, images, last, complaint):
    (tmp_path / "submission.csv").write_text("earlier", encoding="ascii")
    with pytest.raises(UserError, match=complaint):
        write(tmp_path, RUNS | {IMAGES[2]: np.array([last], np.int32)}, images)
    assert not (tmp_path / "submission.csv.gz").exists()
    assert (tmp_path / "submission.csv").read_text(encoding="ascii") == "earlier"


def text_of(mask):
    return rle.to_text(rle.to_runs(mask)).decode()


def plain_score(given, truth):
    """Kaggle's mean Dice, from whole masks."""
    scores = []
    for image, true in truth.items():
        predicted = rle.to_mask(rle.from_text(given[image], HEIGHT, WIDTH), HEIGHT, WIDTH).astype(bool)
        total = predicted.sum() + true.sum()
        scores.append(2 * (predicted & (true == 1)).sum() / total if total else 1)
    return np.mean(scores)


@pytest.mark.parametrize("form", ["csv", "csv.gz", "csv.zip", "zip"])
def test_score_is_kaggles_against_every_form_of_truth_and_in_any_order(tmp_path, form):
    masks = {image: np.zeros((HEIGHT, WIDTH), np.uint8) for image in IMAGES}
    masks[IMAGES[0]][200:600, 300:1000] = 1
    masks[IMAGES[1]][500:900, 100:800] = 1
    given = {image: text_of(np.roll(masks[image], 30, axis=1)) for image in reversed(IMAGES)}
    rows = [*given.items(), ("fffe00001111_01.jpg", "1 1")]  # a decoy
    path = write_csv(tmp_path / "submission.csv", rows)
    truth = tmp_path / f"truth.{form}"
    plain = write_csv(tmp_path / "truth.csv", ((image, text_of(mask)) for image, mask in masks.items()))
    if form == "csv.gz":
        truth.write_bytes(gzip.compress(plain.read_bytes()))
    elif form == "csv.zip":
        pack(truth, {"truth.csv": plain.read_bytes()})
    elif form == "zip":
        pack(truth, {f"train_masks/{mask_of(image)}": gif(mask) for image, mask in masks.items()})
    dice = submission.score(path, truth)
    assert list(dice) == IMAGES
    assert np.mean(list(dice.values())) == pytest.approx(plain_score(given, masks))
    assert dice[IMAGES[2]] == 1


GOOD = [[IMAGES[0], "1 5"], [IMAGES[1], "7 2 100 1"]]


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        (GOOD[:1], f"ends after line 2; .* continues with {IMAGES[1]}"),
        ([*GOOD, ["a.jpg", ""]], "line 4 has a.jpg, but .* has no more images"),
        (GOOD[::-1], f"line 2 has {IMAGES[1]}, but .* has {IMAGES[0]}"),
        ([GOOD[0], [IMAGES[1], "5 9 7 1"]], f"line 3: {IMAGES[1]}: run 2 .* overlaps"),
        ([GOOD[0], [IMAGES[1], "2455040 2"]], "line 3: .* leaves the picture"),
        ([[image, ""] for image, _ in GOOD], "2 of 2 masks are empty"),
    ],
)
def test_what_kaggle_would_not_accept_is_named_with_its_line(tmp_path, rows, complaint):
    with pytest.raises(UserError, match=complaint):
        submission.check(write_csv(tmp_path / "a.csv", rows), write_csv(tmp_path / "sample.csv", GOOD))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("img,rle_mask\n011330127438_01.jpg,1 2 3\n", r"011330127438_01\.jpg: 3 numbers"),
        ("img,rle_mask\n011330127438_01.jpg,1 1\n", r"no row for 011330127438_02\.jpg"),
        ("img,rle_mask\n011330127438_01.jpg,1 1\n011330127438_01.jpg,1 1\n", "two rows for 011330127438_01"),
        ("img,rle_mask\n011330127438_01.jpg\n", "line 2 is no name of an image and its mask"),
        ("image,mask\n", "first line is 'image,mask'"),
        ("", "first line is ''"),
    ],
)
def test_a_bad_submission_is_named_with_its_row(tmp_path, content, complaint):
    (tmp_path / "submission.csv").write_text(content, encoding="ascii")
    truth = write_csv(tmp_path / "truth.csv", [(image, "1 1") for image in IMAGES[:2]])
    with pytest.raises(UserError, match=complaint):
        submission.score(tmp_path / "submission.csv", truth)


def test_damaged_files_are_named_and_a_line_without_an_end_takes_no_memory(tmp_path):
    pack(tmp_path / "two.csv.zip", {"a.csv": "", "b.csv": ""})
    for name, data, complaint in (
        ("nothing.csv", None, "is missing"),
        ("two.csv.zip", None, "holds 2 CSV files"),
        ("a.csv", b"\xff", r"a\.csv"),
        ("a.csv.zip", b"PK", r"a\.csv\.zip"),
        ("a.csv.gz", gzip.compress(b"img,rle_mask\n" * 99)[:-9], r"a\.csv\.gz"),
        ("a.csv.gz", gzip.compress(b"img,rle_mask\n" + b"1 " * 2**22), r"a\.csv\.gz"),
        ("a.csv.gz", gzip.compress(b"img,rle_mask\n" + b"x" * 300 + b",1 1\n"), r"a\.csv\.gz"),
        ("a.csv.gz", gzip.compress(b'img,rle_mask\n"a' + b"\n" * 2**23), r"a\.csv\.gz"),
    ):
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=complaint):
            list(submission.read_rows(tmp_path / name))


def test_kaggles_whole_sample_is_read(sample):
    rows = list(submission.read_rows(sample / "sample_submission_100064.csv.zip"))
    assert len(rows) == 100_064
    assert {text for _, text in rows} == {"1 1"}
    assert rows == sorted(rows)
