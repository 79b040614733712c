"""submission.csv: written from shards, read, checked, and scored as Kaggle scores it."""

import csv
import gzip
import io
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from carvana.base.errors import UserError, reading, some
from carvana.base.files import whole_file
from carvana.competition import HEIGHT, SUBMISSION_HEADER, WIDTH, photo_of
from carvana.data import photos
from carvana.data.archive import Archive, open_csv
from carvana.masks import metrics, rle, shards

Row = TypeVar("Row")

_MOST_EMPTY = 0.5  # largest plausible share of empty masks
_LEVEL = 1  # of gzip: 71 MB/s; the default level packs 11 % smaller, at 14 MB/s
_LONGEST_NAME = 255  # of an image, in characters; Kaggle's have 19
_MOST_CHARACTERS = 2**22  # of one mask: 400,000 runs, five hundred times an ordinary one
csv.field_size_limit(_MOST_CHARACTERS)


def read_rows(path: Path) -> Iterator[tuple[str, str]]:
    """Yields images and texts of a `.csv`, `.csv.gz` or `.csv.zip`. Raises UserError with the line of a fault."""
    again = "make or download it again"
    with reading(path, "cannot be read to its end", again, "`dvc repro` makes it"), ExitStack() as stack:
        text = io.TextIOWrapper(open_csv(path, stack), encoding="utf-8-sig", newline="")
        # By lines of a limited length: a few MB of gzip can hold a line of GBs.
        rows = csv.reader(iter(partial(text.readline, 2 * _MOST_CHARACTERS), ""))
        header = next(rows, [])
        if header != SUBMISSION_HEADER:
            raise UserError(f"{path}: the first line is {','.join(header)[:60]!r}, not 'img,rle_mask'")
        for row in rows:
            if len(row) != len(SUBMISSION_HEADER) or len(row[0]) > _LONGEST_NAME:
                raise UserError(f"{path}, line {rows.line_num} is no name of an image and its mask; {again}")
            yield row[0], row[1]


def require_same_images(sample: Path, images: list[str], whose: str) -> list[str]:
    """Returns the sample submission's images in its order. Raises UserError unless they are `images`, each once."""
    wanted = [image for image, _ in _once(sample, read_rows(sample))]
    if missing := sorted(set(wanted) - set(images)):
        raise UserError(f"{sample} names images that are missing in {whose}: {some(missing)}; download both again")
    if extra := sorted(set(images) - set(wanted)):
        raise UserError(f"{whose} has images that {sample} does not name: {some(extra)}; download both again")
    return wanted


def write(predictions: Path, sample: Path, target: Path, packed: Path) -> int:
    """Writes `target`, and `packed` as gzip, from the shards in the sample's order; returns the number of rows.

    Every image of the sample has one row, and no other image has one; every run is inside the picture, in order. An
    empty mask is an empty value. If the sample is sorted, as Kaggle's is, only one shard is in memory at a time.
    """
    shard_of: dict[str, Path] = {}
    for path in sorted(predictions.glob("*.parquet")):
        for image in shards.read_names(path):
            if image in shard_of:
                raise UserError(f"{path} holds {image}, and {shard_of[image]} too; `dvc repro -f predict`")
            shard_of[image] = path
    wanted = require_same_images(sample, list(shard_of), str(predictions))
    opened: Path | None = None
    runs: dict[str, rle.Runs] = {}
    with ExitStack() as stack:
        paths = [stack.enter_context(whole_file(path)) for path in (target, packed)]
        plain, raw = (stack.enter_context(path.open("wb")) for path in paths)
        # Without a time or a name, so that equal rows have equal bytes.
        gzipped = stack.enter_context(gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=_LEVEL, mtime=0))

        def put(line: bytes) -> None:
            plain.write(line)
            gzipped.write(line)

        put(",".join(SUBMISSION_HEADER).encode() + b"\n")
        for image in tqdm(wanted, desc="encode", unit=" rows", disable=None):
            if shard_of[image] != opened:
                opened = shard_of[image]
                runs = dict(shards.read(opened))
            try:
                rle.check(runs[image], HEIGHT, WIDTH)
            except ValueError as error:
                raise UserError(f"{opened}: {image}: {error}; `dvc repro -f predict` makes it again") from error
            put(image.encode() + b"," + rle.to_text(runs[image]) + b"\n")
    return len(wanted)


def check(path: Path, sample: Path) -> tuple[int, int]:
    """Returns the number of rows of a submission and how many of its masks are empty.

    Raises UserError if Kaggle would not accept it, naming the first bad line: a wrong header, an image that is not the
    sample's next one, or runs that leave the picture, overlap or are out of order. Also raises it if more than half of
    the masks are empty.
    """
    rows = empty = 0
    wanted = (image for image, _ in read_rows(sample))
    progress = tqdm(read_rows(path), desc="check", unit=" rows", disable=None)
    for line, (row, image) in enumerate(zip_longest(progress, wanted), start=2):
        if row is None:
            raise UserError(f"{path} ends after line {line - 1}; {sample} continues with {image}")
        if row[0] != image:
            raise UserError(f"{path}, line {line} has {row[0]}, but {sample} has {image or 'no more images'}")
        empty += not len(_runs(f"{path}, line {line}", *row))
        rows += 1
    if empty > rows * _MOST_EMPTY:
        raise UserError(f"{path}: {empty} of {rows} masks are empty, but every photo shows a car; look at the model")
    return rows, empty


def score(submission: Path, truth: Path) -> dict[str, float]:
    """Returns the Dice of the submission for every image in the truth; Kaggle's score is their mean.

    `truth` is a CSV in the submission's format or a zip of mask GIFs. Rows of the submission that are missing in the
    truth are ignored, as Kaggle ignores its decoys.
    """
    truths = dict(_once(truth, _truth_rows(truth)))
    dice = {}
    for image, text in _once(submission, read_rows(submission)):
        if image in truths:
            dice[image] = metrics.overlap_of_runs(_runs(submission, image, text), truths.pop(image)).dice
    if truths:
        raise UserError(f"{submission} has no row for {some(sorted(truths))}, which {truth} has")
    return dict(sorted(dice.items()))


def _truth_rows(truth: Path) -> Iterator[tuple[str, rle.Runs]]:
    if truth.suffix == ".zip" and not truth.name.endswith(".csv.zip"):
        with Archive(truth) as archive:
            for mask in archive.masks:
                yield photo_of(mask), rle.to_runs(photos.decode_mask(archive.read(mask), f"{truth}: {mask}"))
        return
    for image, text in read_rows(truth):
        yield image, _runs(truth, image, text)


def _once(path: Path, rows: Iterator[tuple[str, Row]]) -> Iterator[tuple[str, Row]]:
    seen: set[str] = set()
    for image, row in rows:
        if image in seen:
            raise UserError(f"{path} has two rows for {image}")
        seen.add(image)
        yield image, row


def _runs(where: Path | str, image: str, text: str) -> rle.Runs:
    try:
        return rle.from_text(text, HEIGHT, WIDTH)
    except ValueError as error:
        raise UserError(f"{where}: {image}: {error}") from error
