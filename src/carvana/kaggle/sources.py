"""Kaggle's files from Kaggle or from a folder of the user's into data/raw, and the checks for every source."""

import math
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from carvana.competition import SUBMISSION_HEADER, mask_of, photo_of
from carvana.data.archive import Archive
from carvana.errors import UserError, some
from carvana.files import link_or_copy, only_writer, whole_file
from carvana.kaggle import submission

_COPIED_AT_ONCE = 2**24


@dataclass(frozen=True)
class Raw:
    """The competition's files, whatever their source; `test_masks` is the truth, which only the demo has."""

    train: Path
    train_masks: Path
    test: Path
    metadata: Path
    sample_submission: Path
    test_masks: Path


def copy_local(source: Path, quality: str, raw: Raw) -> None:
    """Fills `raw` from a folder with Kaggle's zips, or with what they hold, extracted.

    `quality` is that of the photos, 'standard' or 'hq'. For each of `train.zip` (with hq: `train_hq.zip`),
    `metadata.csv.zip` and so on: the file itself, else `train/` (`train_hq/`) or `metadata.csv`. Raises UserError that
    says which is missing.
    """
    if not source.is_dir():
        raise UserError(f"params.yaml: data.local_dir: {source.resolve()} is not a folder; give one with Kaggle's zips")
    for name, target in _targets(quality, raw).items():
        zipped, extracted = source / name, source / name.removesuffix(".zip")
        if zipped.is_file():
            _copy(zipped, target)
        elif extracted.exists():
            _pack(extracted, target)
        else:
            raise UserError(
                f"{source.resolve()} has neither {zipped.name} nor {extracted.name}, which data.quality={quality} "
                f"needs; let data.source=kaggle fetch it"
            )
    write_no_truth(raw.test_masks)


def fetch(quality: str, work: Path, raw: Raw) -> None:
    """Fills `raw` from Kaggle, by way of the folder `work`, where a download that was stopped goes on.

    `quality` is that of the photos, 'standard' or 'hq'. What has come stays in `work`, as another name of the same
    file, so that a `dvc` that is killed before it has stored it need not fetch it again. Of several processes with the
    same `work`, one fetches; the others wait for it, and then find what it has fetched.
    """
    from carvana.kaggle import client  # noqa: PLC0415 - only where it is wanted

    targets = _targets(quality, raw)
    with only_writer(work, "download", patience=math.inf):
        for found, target in zip(client.download(list(targets), work), targets.values(), strict=True):
            with whole_file(target) as temporary:
                link_or_copy(found, temporary)
    write_no_truth(raw.test_masks)


def write_no_truth(path: Path) -> None:
    """The truth of test photos where there is none: a header without rows."""
    with whole_file(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(path.stem), ",".join(SUBMISSION_HEADER) + "\n")


def check(raw: Raw) -> None:
    """Raises UserError unless photos, masks and the sample submission belong together.

    Every zip opens, no name stands twice, every photo of train.zip has its mask and every mask its photo, and
    the sample submission names the photos of test.zip. Pixels are checked where they are read.
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
    """Where each of Kaggle's files belongs, by its name; those of the photos depend on their quality."""
    suffix = "_hq" if quality == "hq" else ""
    return {
        f"train{suffix}.zip": raw.train,
        "train_masks.zip": raw.train_masks,
        f"test{suffix}.zip": raw.test,
        "metadata.csv.zip": raw.metadata,
        "sample_submission.csv.zip": raw.sample_submission,
    }


def _copy(source: Path, target: Path) -> None:
    # A copy, not a link: DVC makes its files read-only, and these are the user's.
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
