"""Kaggle's files into data/raw, from Kaggle or from the user's folder, and the checks for every source."""

import math
import shutil
import zipfile
from pathlib import Path

from tqdm import tqdm

from carvana.base.errors import UserError, some
from carvana.base.files import link_or_copy, only_writer, whole_file
from carvana.competition import SUBMISSION_HEADER, mask_of, photo_of
from carvana.data.archive import Archive
from carvana.kaggle import submission


def copy_local(source: Path, quality: str, raw: Path) -> None:
    """Fills the folder `raw` from one with Kaggle's zips, or with their extracted content.

    `quality` of the photos is 'standard' or 'hq'. For each of `train.zip` (hq: `train_hq.zip`), `metadata.csv.zip` and
    so on, it takes the file itself, otherwise `train/` (`train_hq/`) or `metadata.csv`. Raises UserError that names
    the missing one.
    """
    if not source.is_dir():
        raise UserError(f"params.yaml: data.local_dir: {source.resolve()} is not a folder; name one with Kaggle's zips")
    for name, target in tqdm(_targets(quality, raw).items(), desc="copy", unit=" files", disable=None):
        zipped, extracted = source / name, source / name.removesuffix(".zip")
        with whole_file(target) as temporary:
            if zipped.is_file():
                # A copy, not a link: DVC makes its files read-only, and these belong to the user.
                shutil.copyfile(zipped, temporary)
            elif extracted.exists():
                _pack(extracted, temporary)
            else:
                raise UserError(
                    f"{source.resolve()} has neither {zipped.name} nor {extracted.name}, which data.quality={quality} "
                    f"needs; data.source=kaggle downloads it"
                )
    _write_no_truth(raw)


def _pack(source: Path, target: Path) -> None:
    """Zips a file, or a folder's pictures under the folder's name, as Kaggle does."""
    files = [source] if source.is_file() else sorted(path for path in source.iterdir() if path.is_file())
    compression = zipfile.ZIP_DEFLATED if source.is_file() else zipfile.ZIP_STORED
    with zipfile.ZipFile(target, "w") as archive:
        for path in files:
            member = zipfile.ZipInfo(path.relative_to(source.parent).as_posix())
            archive.writestr(member, path.read_bytes(), compression)


def fetch(quality: str, work: Path, raw: Path) -> None:
    """Fills the folder `raw` from Kaggle with photos of a `quality`, 'standard' or 'hq'.

    Downloads stay in the folder `work` as hard links to the same files: interrupted ones resume, and finished ones are
    there if `dvc` is killed before it has stored them. Of several processes with the same `work`, one downloads; the
    others wait for it and then use its files.
    """
    from carvana.kaggle import downloads  # noqa: PLC0415 - only if it is needed

    targets = _targets(quality, raw)
    with only_writer(work, "download", patience=math.inf):
        for found, target in zip(downloads.download(list(targets), work), targets.values(), strict=True):
            with whole_file(target) as temporary:
                link_or_copy(found, temporary)
    _write_no_truth(raw)


def _targets(quality: str, raw: Path) -> dict[str, Path]:
    """Returns where each of Kaggle's files is put, by its name there, which for photos depends on the quality."""
    suffix = "_hq" if quality == "hq" else ""
    same = ("train_masks.zip", "metadata.csv.zip", "sample_submission.csv.zip")
    photos = {f"{name}{suffix}.zip": raw / f"{name}.zip" for name in ("train", "test")}
    return photos | {name: raw / name for name in same}


def _write_no_truth(raw: Path) -> None:
    """Writes the file of true test masks, which only the demo knows: a header without rows."""
    with whole_file(raw / "test_masks.csv.zip") as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr(zipfile.ZipInfo("test_masks.csv"), ",".join(SUBMISSION_HEADER) + "\n")


def check(raw: Path) -> None:
    """Raises UserError unless photos, masks and the sample submission in the folder `raw` belong together.

    Every zip can be opened, no name occurs twice, every photo of train.zip has its mask and every mask its photo, and
    the sample submission names the photos of test.zip. Pixels are checked when they are read.
    """
    with Archive(raw / "train.zip") as train, Archive(raw / "train_masks.zip") as masks:
        photos, photos_of_masks = set(train.photos), set(map(photo_of, masks.masks))
        if not photos:
            raise UserError(f"{train.path} holds no photo")
        if without_mask := sorted(photos - photos_of_masks):
            raise UserError(f"{train.path}: no mask in {masks.path} for {some(without_mask)}")
        if without_photo := sorted(map(mask_of, photos_of_masks - photos)):
            raise UserError(f"{masks.path}: no photo in {train.path} for {some(without_photo)}")
    with Archive(raw / "test.zip") as test:
        submission.require_same_images(raw / "sample_submission.csv.zip", test.photos, str(test.path))
