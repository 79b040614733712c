"""Kaggle's files into data/raw, from Kaggle or from the user's folder, and the checks for every source."""

import math
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from carvana.base.errors import UserError, some
from carvana.base.files import link_or_copy, only_writer, whole_file
from carvana.competition import SUBMISSION_HEADER, mask_of, photo_of
from carvana.data.archive import Archive
from carvana.kaggle import submission

_COPIED_AT_ONCE = 2**24


@dataclass(frozen=True)
class Raw:
    """Paths of the competition's files; `test_masks` are the true masks of the test photos, which only the demo has."""

    train: Path
    train_masks: Path
    test: Path
    metadata: Path
    sample_submission: Path
    test_masks: Path


def copy_local(source: Path, quality: str, raw: Raw) -> None:
    """Fills `raw` from a folder with Kaggle's zips, or with their extracted content.

    `quality` of the photos is 'standard' or 'hq'. For each of `train.zip` (hq: `train_hq.zip`), `metadata.csv.zip` and
    so on, it takes the file itself, otherwise `train/` (`train_hq/`) or `metadata.csv`. Raises UserError that names
    the missing one.
    """
    if not source.is_dir():
        raise UserError(f"params.yaml: data.local_dir: {source.resolve()} is not a folder; name one with Kaggle's zips")
    for name, target in _targets(quality, raw).items():
        zipped, extracted = source / name, source / name.removesuffix(".zip")
        if zipped.is_file():
            _copy(zipped, target)
        elif extracted.exists():
            _pack(extracted, target)
        else:
            raise UserError(
                f"{source.resolve()} has neither {zipped.name} nor {extracted.name}, which data.quality={quality} "
                f"needs; data.source=kaggle downloads it"
            )
    write_no_truth(raw.test_masks)


def fetch(quality: str, work: Path, raw: Raw) -> None:
    """Fills `raw` from Kaggle, through the folder `work`, in which interrupted downloads resume.

    `quality` of the photos is 'standard' or 'hq'. Downloads stay in `work` as hard links to the same files: if `dvc` is
    killed before it has stored them, they are not downloaded again. Of several processes with the same `work`, one
    downloads; the others wait for it and then use its files.
    """
    from carvana.kaggle import downloads  # noqa: PLC0415 - only if it is needed

    targets = _targets(quality, raw)
    with only_writer(work, "download", patience=math.inf):
        for found, target in zip(downloads.download(list(targets), work), targets.values(), strict=True):
            with whole_file(target) as temporary:
                link_or_copy(found, temporary)
    write_no_truth(raw.test_masks)


def write_no_truth(path: Path) -> None:
    """Writes the file of true test masks if they are not known: a header without rows."""
    with whole_file(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(path.stem), ",".join(SUBMISSION_HEADER) + "\n")


def check(raw: Raw) -> None:
    """Raises UserError unless photos, masks and the sample submission belong together.

    Every zip can be opened, no name occurs twice, every photo of train.zip has its mask and every mask its photo, and
    the sample submission names the photos of test.zip. Pixels are checked when they are read.
    """
    with Archive(raw.train) as train, Archive(raw.train_masks) as masks, Archive(raw.test) as test:
        photos, photos_of_masks = set(train.photos), {photo_of(mask) for mask in masks.masks}
        if not photos:
            raise UserError(f"{raw.train} holds no photo")
        if without_mask := sorted(photos - photos_of_masks):
            raise UserError(
                f"{raw.train}: no mask in {raw.train_masks} for {some(without_mask)}; "
                f"its name would be {mask_of(without_mask[0])}"
            )
        if without_photo := sorted(map(mask_of, photos_of_masks - photos)):
            raise UserError(f"{raw.train_masks}: no photo in {raw.train} for {some(without_photo)}")
        submission.require_same_images(raw.sample_submission, test.photos, str(raw.test))


def _targets(quality: str, raw: Raw) -> dict[str, Path]:
    """Returns the target of each of Kaggle's files by its name; the names of the photos' zips depend on `quality`."""
    suffix = "_hq" if quality == "hq" else ""
    return {
        f"train{suffix}.zip": raw.train,
        "train_masks.zip": raw.train_masks,
        f"test{suffix}.zip": raw.test,
        "metadata.csv.zip": raw.metadata,
        "sample_submission.csv.zip": raw.sample_submission,
    }


def _copy(source: Path, target: Path) -> None:
    # A copy, not a link: DVC makes its files read-only, and these belong to the user.
    size = source.stat().st_size
    with (
        whole_file(target) as temporary,
        source.open("rb") as reader,
        temporary.open("wb") as writer,
        tqdm(total=size, desc=source.name, unit="B", unit_scale=True, disable=None) as progress,
    ):
        while piece := reader.read(_COPIED_AT_ONCE):
            writer.write(piece)
            progress.update(len(piece))


def _pack(source: Path, target: Path) -> None:
    """Zips a file, or a folder's pictures under the folder's name, as Kaggle does."""
    files = [source] if source.is_file() else sorted(path for path in source.iterdir() if path.is_file())
    compression = zipfile.ZIP_DEFLATED if source.is_file() else zipfile.ZIP_STORED
    with whole_file(target) as temporary, zipfile.ZipFile(temporary, "w", compression) as archive:
        for path in tqdm(files, desc=target.name, unit=" files", disable=None):
            info = zipfile.ZipInfo(path.relative_to(source.parent).as_posix())
            info.compress_type = compression
            with path.open("rb") as reader, archive.open(info, "w") as writer:
                shutil.copyfileobj(reader, writer)
