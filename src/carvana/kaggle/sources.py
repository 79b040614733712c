"""Kaggle's files into data/raw, from Kaggle or from the user's folder, and the checks for every source."""

import contextlib
import math
import shutil
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tqdm import tqdm

from carvana.base import paths
from carvana.base.errors import UserError, some
from carvana.base.files import link_or_copy, only_writer, whole_file
from carvana.competition import HEIGHT, SUBMISSION_HEADER, WIDTH, mask_of, photo_of
from carvana.data import split
from carvana.data.archive import Archive, is_of_system
from carvana.data.photos import decode_mask, decode_photo
from carvana.kaggle import submission

_CHECKED = (paths.TRAIN, paths.TRAIN_MASKS, paths.TEST, paths.METADATA, paths.SAMPLE_SUBMISSION)


def copy_local(source: Path, quality: str, raw: Path) -> None:
    """Fills the folder `raw` from one with Kaggle's zips, or with their extracted content.

    `quality` of the photos is 'standard' or 'hq'. For each of `train.zip` (hq: `train_hq.zip`), `metadata.csv.zip` and
    so on, it takes the file itself, otherwise `train/` (`train_hq/`) or `metadata.csv`, also in a folder of that name.
    Raises UserError that names all that is missing, and all that `check` finds, before anything is copied.
    """
    source, files, missing = source.resolve(), {}, []
    if not source.is_dir():
        raise UserError(f"params.yaml: data.local_dir: {source} is not a folder; name one with Kaggle's zips")
    for name, target in _targets(quality, raw).items():
        plain = name.removesuffix(".zip")
        # Windows extracts a zip into a folder of its name.
        if found := next(filter(Path.exists, (source / name, source / plain / plain, source / plain)), None):
            files[target.name] = found
        else:
            missing.append(f"neither {name} nor {plain}")
    needs = f"{source} has {', '.join(missing)}, which data.quality={quality} needs; data.source=kaggle downloads them"
    _check(files, [needs] if missing else [])
    for name, file in tqdm(files.items(), desc="copy", unit=" files", disable=None):
        with whole_file(raw / name) as temporary:
            if file.suffix == ".zip" and file.is_file():
                # A copy, not a link: DVC makes its files read-only, and these belong to the user.
                shutil.copyfile(file, temporary)
            else:
                _pack(file, temporary)
    _write_no_truth(raw)


def _pack(source: Path, target: Path) -> None:
    """Zips a file, or a folder's pictures under the folder's name, as Kaggle does."""
    files = [source] if source.is_file() else sorted(filter(Path.is_file, source.iterdir()))
    compression = zipfile.ZIP_DEFLATED if source.is_file() else zipfile.ZIP_STORED
    with zipfile.ZipFile(target, "w") as archive:
        for path in files:
            if not is_of_system(path.name):
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
    """Raises UserError, with all that is wrong, unless the files in the folder `raw` belong together.

    Every zip can be opened, no name occurs twice, every photo of train.zip has its mask and every mask its photo, and
    the sample submission names the photos of test.zip. Of each zip the first and the last picture are decoded; the
    others are when they are used.
    """
    _check({each.name: raw / each.name for each in _CHECKED}, [])


def _check(files: dict[str, Path], faults: list[str]) -> None:
    """Does what `check` says for files by their names in data/raw, as far as they are there."""
    train, masks, test, metadata, sample = (files.get(each.name) for each in _CHECKED)
    images: dict[Path, set[str]] = {}
    for path in filter(None, (train, masks, test)):
        with _noting(faults), Archive(path) as archive:
            is_mask = path == masks
            names = archive.masks if is_mask else archive.photos
            if not names:
                raise UserError(f"{path} holds no {'mask' if is_mask else 'photo'}")
            images[path] = set(map(photo_of, names) if is_mask else names)
            decode = decode_mask if is_mask else partial(decode_photo, size=(HEIGHT, WIDTH))
            for name in (names[0], names[-1]):
                decode(archive.read(name), f"{path}: {name}")
    if train in images and masks in images:
        if without_mask := sorted(images[train] - images[masks]):
            faults.append(f"{train}: no mask in {masks} for {some(without_mask)}")
        if without_photo := sorted(map(mask_of, images[masks] - images[train])):
            faults.append(f"{masks}: no photo in {train} for {some(without_photo)}")
    if sample and test in images:
        with _noting(faults):
            submission.require_same_images(sample, list(images[test]), str(test))
    if metadata:
        with _noting(faults):
            split.read_makes(metadata)
    if faults:
        raise UserError("\n".join(faults))


@contextlib.contextmanager
def _noting(faults: list[str]) -> Iterator[None]:
    """Adds the UserError that the block raises to `faults`."""
    try:
        yield
    except UserError as error:
        faults.append(str(error))
