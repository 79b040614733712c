"""The readers of the library: for each, what writes a good file, and what reads it; see tests/fuzz.py."""

import contextlib
import io
import json
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from competition_files import CARS, csv_text, encoded, gif, jpeg, picture
from PIL import Image
from projects import DVC_LOCK, ROOT, read_network
from safetensors.torch import save_file

from carvana.base import definition, lockfile, params, speed, unfinished
from carvana.base.errors import UserError
from carvana.commands import summary, unlock
from carvana.competition import SUBMISSION_HEADER, mask_of
from carvana.data import any_photo, cache, labels, photos, split
from carvana.data.archive import Archive
from carvana.kaggle import submission
from carvana.masks import rle, shards
from carvana.networks import checkpoint, models
from carvana.results import about
from carvana.training import history, resume

NAMES = [f"{car}_{view}.jpg" for car in CARS[:3] for view in ("01", "02")]
SIZE = (32, 64)
MASKS = np.random.default_rng(0).random((len(NAMES), 40, 60)) < 0.5


class Reader(NamedTuple):
    """A file's name, what writes a good one at a path, what reads it, and whether a checksum guards it."""

    name: str
    make: Callable[[Path], object]
    read: Callable[[Path], Any]
    checksum: bool = False


def holding(content: str | bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content.encode() if isinstance(content, str) else content)


def put_zip(path: Path, members: dict[str, str | bytes], compression: int = zipfile.ZIP_DEFLATED) -> None:
    """Writes a zip without the time, so that its damage is the same in every run."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, compression)


def small_photo(kind: str, seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(pixels.repeat(8, axis=0).repeat(8, axis=1), kind, exif=exif)


def write_shard(path: Path) -> None:
    shards.write(path, NAMES, [rle.to_runs(mask) for mask in MASKS])


def read_shard(path: Path) -> Any:
    return [(name, runs.tolist()) for name, runs in shards.read(path)]


def write_labels(path: Path) -> None:
    put_zip(path.parent / "test.zip", dict.fromkeys(NAMES, b""))
    write_shard(path)


def read_labels(path: Path) -> Any:
    found = labels.read(path.parent, path.parent / "test.zip")
    return found.names, found.empty, [runs.tolist() for runs in found.each_runs()]


def write_cache(path: Path) -> None:
    random_ = np.random.default_rng(0)
    for kind, shape in (("photos", (len(NAMES), *SIZE, 3)), ("masks", (len(NAMES), *SIZE))):
        np.save(path.with_name(f"{kind}.npy"), random_.integers(0, 256, shape, np.uint8))
    write_shard(path.with_name("truth.parquet"))
    rows = [["image", "digest"], *([name, f"{number:032x}"] for number, name in enumerate(NAMES))]
    path.with_name("index.csv").write_text(csv_text(rows), encoding="ascii")


def read_cache(path: Path) -> Any:
    made = cache.read(path.parent)
    rows = np.arange(len(made.names))
    truth = [runs.tolist() for runs in made.read_truth(rows)]
    return made.names, made.size, made.read_photos(rows).shape, made.read_masks(rows).shape, truth


def read_archive(path: Path) -> Any:
    with Archive(path) as archive:
        archive.digest()
        return [(name, archive.read(name)) for name in archive.photos]


def read_mask(path: Path) -> None:
    assert photos.decode_mask(path.read_bytes(), path.name).max() <= 1


def write_submission(path: Path) -> None:
    write_shard(path.with_name("000.parquet"))
    sample = path.with_name("sample.csv.zip")
    put_zip(sample, {"sample.csv": csv_text([SUBMISSION_HEADER, *([photo, "1 1"] for photo in NAMES)])})
    submission.write(path.parent, sample, path.with_name("a.csv"), path.with_name("a.csv.gz"))


def read_submission(path: Path) -> Any:
    # Either file may be the damaged one: the submission, or the sample.
    given = path.with_name("a.csv") if path.name == "sample.csv.zip" else path
    return submission.check(given, path.with_name("sample.csv.zip"))


def write_model(path: Path) -> None:
    torch.manual_seed(0)
    network = read_network(depth=2, width=2)
    checkpoint.save(path, models.build(network), network, SIZE)


def read_model(path: Path) -> Any:
    trained = checkpoint.load(path)
    return {name: weight.tolist() for name, weight in trained.model.state_dict().items()}, trained.size


def encoder() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Conv2d(4, 4, 3))


def write_encoder(path: Path, save: Callable[..., object] = torch.save) -> None:
    save(encoder().state_dict(), path)


def read_encoder(path: Path) -> Any:
    from carvana.networks import zoo  # noqa: PLC0415 - seconds of imports

    made = encoder()
    zoo.load_encoder(made, path)
    return {name: weight.tolist() for name, weight in made.state_dict().items()}


def write_unfinished(path: Path) -> None:
    model = encoder()
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "history": [{"epoch": 1, "dice": 0.5}]}
    resume.save(path, state)


def read_unfinished(path: Path) -> Any:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        state = resume.load(path)
    if state is None:
        assert "training starts over" in printed.getvalue()
        raise UserError(printed.getvalue())
    return repr(state)


def read_params(path: Path) -> None:
    assert max(params.load(path).train.size) <= 4096


def read_pipeline(path: Path) -> Any:
    with contextlib.chdir(path.parent):
        return definition.read("train@0")


def write_finished(path: Path) -> None:
    (path.parent.parent / "dvc.lock").write_text(DVC_LOCK, encoding="utf-8")
    path.parent.mkdir(exist_ok=True)
    path.write_text('{"models/fold-0.csv": "5eb63bbbe01eeed093cb22bb8f5acdc3"}', encoding="utf-8")


def read_finished(path: Path) -> Any:
    unfinished.discard_if_recorded(path.parent, path.parent.parent / "dvc.lock", "train@0")
    kept = path.exists()
    path.parent.mkdir(exist_ok=True)
    return kept


CAR, MASK = picture(0)
PHOTOS = {f"train/{photo}": small_photo("JPEG", number) for number, photo in enumerate(NAMES)}
METADATA = csv_text([["id", "year", "make"], *([car, "2014", "Acura"] for car in CARS)])
SPLIT = "car,role\n" + "".join(f"{car},{number % 3}\n" for number, car in enumerate(CARS))
EPOCHS = [history.Epoch(number, 0.004, 0.5, 0.25, 1 / 3, 0.75, 0.625) for number in (1, 2, 3)]
LEGACY = partial(torch.save, _use_new_zipfile_serialization=False)
BUSY = '{"read": {"a": [{"pid": 123, "cmd": "dvc"}]}, "write": {"b": {"pid": 456}}}'
SCORES = {"dice": 0.99, "dice_worst": 0.9, "images": 16}
MADE = speed.Speed(12.25, 96, 48.5, "openvino", "cpu", "some processor", "bfloat16", 1, 2)

READERS = {
    "archive": Reader("train.zip", partial(put_zip, members=PHOTOS, compression=zipfile.ZIP_STORED), read_archive),
    "archive, deflated": Reader("test.zip", partial(put_zip, members=PHOTOS), read_archive),
    "photo": Reader(
        NAMES[0], holding(jpeg(CAR)), lambda path: photos.decode_photo(path.read_bytes(), path.name, SIZE).shape
    ),
    "mask": Reader(mask_of(NAMES[0]), holding(gif(MASK)), read_mask),
    "cache, photos": Reader("photos.npy", write_cache, read_cache),
    "cache, masks": Reader("masks.npy", write_cache, read_cache),
    "cache, truth": Reader("truth.parquet", write_cache, read_cache, checksum=True),
    "cache, index": Reader("index.csv", write_cache, read_cache, checksum=True),
    "split": Reader("split.csv", holding(SPLIT), partial(split.read, photos=NAMES)),
    "metadata": Reader("metadata.csv.zip", partial(put_zip, members={"metadata.csv": METADATA}), split.read_makes),
    "shard": Reader("000.parquet", write_shard, read_shard, checksum=True),
    "labels": Reader("000.parquet", write_labels, read_labels, checksum=True),
    "shard, names": Reader("000.parquet", write_shard, shards.read_names, checksum=True),
    "model": Reader("fold-0.safetensors", write_model, read_model, checksum=True),
    "encoder, safetensors": Reader("encoder.safetensors", partial(write_encoder, save=save_file), read_encoder),
    "encoder, torch": Reader("encoder.pth", write_encoder, read_encoder),
    "encoder, legacy": Reader("encoder.pt", partial(write_encoder, save=LEGACY), read_encoder),
    "unfinished training": Reader("epoch.pt", write_unfinished, read_unfinished, checksum=True),
    "history": Reader("fold-0.csv", partial(history.write, history=EPOCHS), history.read),
    "submission": Reader("a.csv", write_submission, read_submission),
    "submission, gzip": Reader("a.csv.gz", write_submission, read_submission),
    "sample": Reader("sample.csv.zip", write_submission, read_submission),
    "truth, csv": Reader("a.csv.gz", write_submission, lambda path: submission.score(path.with_name("a.csv"), path)),
    "truth, masks": Reader(
        "train_masks.zip",
        partial(put_zip, members={f"train_masks/{mask_of(NAMES[0])}": gif(MASK)}),
        lambda path: len(dict(submission._truth_rows(path))),
    ),
    "params": Reader("params.yaml", holding((ROOT / "params.yaml").read_bytes()), read_params),
    "lock": Reader("dvc.lock", holding(DVC_LOCK), lockfile.read),
    "pipeline": Reader("dvc.yaml", holding((ROOT / "dvc.yaml").read_bytes()), read_pipeline),
    **{
        f"own {kind}": Reader(f"own.{kind}", holding(small_photo(kind)), lambda path: any_photo.read(path).shape)
        for kind in ("jpeg", "png", "webp", "bmp", "tiff")
    },
    "finished work": Reader("work/finished.json", write_finished, read_finished),
    "metrics": Reader("evaluate.json", holding(json.dumps({"test": SCORES})), summary.evaluated),
    "score": Reader("leaderboard.json", holding(json.dumps({"leaderboard": SCORES})), summary.scored),
    "speed": Reader("predict.json", partial(speed.write, speed=MADE), lambda path: about.training(speed.read(path))),
    "lock of DVC": Reader("rwlock", holding(BUSY), unlock.is_held),
}


# Torch's older format holds addresses of the memory, so that this file alone differs in every run.
VARIES = "encoder, legacy"
