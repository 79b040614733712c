"""The readers of the library: for each, what writes a good file, and what reads it; see tests/fuzz.py."""

import contextlib
import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from conftest import CARS, DVC_LOCK, ROOT, csv_text, gif, jpeg, picture, read_network
from PIL import Image
from safetensors.torch import save_file

from carvana.base import definition, lockfile, params, unfinished
from carvana.base.errors import UserError
from carvana.commands import summary, unlock
from carvana.competition import SUBMISSION_HEADER, mask_of
from carvana.cutouts import outputs, photo_files, photo_pixels
from carvana.data import cache, labels, photos, split
from carvana.data.archive import Archive
from carvana.kaggle import submission
from carvana.masks import rle, shards
from carvana.networks import checkpoint, models
from carvana.training import history, resume

NAMES = [f"{car}_{view}.jpg" for car in CARS[:3] for view in ("01", "02")]
SIZE = (32, 64)


@dataclass(frozen=True)
class Reader:
    """What writes a good file into a folder and returns its path, what reads it, and whether a checksum guards it."""

    make: Callable[[Path], Path]
    read: Callable[[Path], Any]
    checksum: bool = False


def put_zip(path: Path, members: dict[str, Any], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    """Writes a zip without the time, so that its damage is the same in every run."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, compression)
    return path


def write_zip(name: str, compression: int = zipfile.ZIP_STORED) -> Callable[[Path], Path]:
    photos_of = {f"train/{photo}": small_photo("JPEG", number) for number, photo in enumerate(NAMES)}
    return lambda folder: put_zip(folder / name, photos_of, compression)


def small_photo(kind: str, seed: int = 0) -> bytes:
    random_ = np.random.default_rng(seed)
    pixels = np.repeat(np.repeat(random_.integers(0, 256, (6, 9, 3), np.uint8), 8, axis=0), 8, axis=1)
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(buffer, kind, **({} if kind == "BMP" else {"exif": exif}))
    return buffer.getvalue()


def file_of(name: str, data: Callable[[], bytes]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(data())
        return folder / name

    return make


def text_file(name: str, text: str) -> Callable[[Path], Path]:
    return file_of(name, text.encode)


def write_shard(folder: Path) -> Path:
    shards.write(folder / "000.parquet", NAMES, [rle.to_runs(mask) for mask in small_masks()])
    return folder / "000.parquet"


def write_labels(folder: Path) -> Path:
    put_zip(folder / "test.zip", dict.fromkeys(NAMES, b""))
    return write_shard(folder)


def read_labels(path: Path) -> Any:
    found = labels.read(path.parent, path.parent / "test.zip")
    return found.names, found.empty, [found.runs_of(name).tolist() for name in found.names]


def small_masks() -> list[np.ndarray]:
    random_ = np.random.default_rng(0)
    return [(random_.random((40, 60)) < 0.5).astype(np.uint8) for _ in NAMES]


def write_cache(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        random_ = np.random.default_rng(0)
        for kind, shape in (("photos", (len(NAMES), *SIZE, 3)), ("masks", (len(NAMES), *SIZE))):
            np.save(folder / f"{kind}.npy", random_.integers(0, 256, shape, np.uint8))
        shards.write(folder / "truth.parquet", NAMES, [rle.to_runs(mask) for mask in small_masks()])
        rows = [["image", "digest"], *([name, f"{number:032x}"] for number, name in enumerate(NAMES))]
        (folder / "index.csv").write_text(csv_text(rows), encoding="ascii")
        return folder / name

    return make


def read_cache(path: Path) -> Any:
    made = cache.read(path.parent)
    rows = np.arange(len(made.names))
    truth = [runs.tolist() for runs in made.read_truth(rows)]
    return made.names, made.size, made.read_photos(rows).shape, made.read_masks(rows).shape, truth


def read_archive(path: Path) -> Any:
    with Archive(path) as archive:
        archive.digest()
        return [(name, archive.read(name)) for name in archive.photos]


def write_masks(folder: Path) -> Path:
    return put_zip(folder / "train_masks.zip", {f"train_masks/{mask_of(NAMES[0])}": gif(picture(0)[1])})


def write_metadata(folder: Path) -> Path:
    rows = [["id", "year", "make"], *([car, "2014", "Acura"] for car in CARS)]
    return put_zip(folder / "metadata.csv.zip", {"metadata.csv": csv_text(rows)})


def write_submission(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        shards.write(folder / "000.parquet", NAMES, [rle.to_runs(mask) for mask in small_masks()])
        sample = csv_text([SUBMISSION_HEADER, *([photo, "1 1"] for photo in NAMES)])
        put_zip(folder / "sample.csv.zip", {"sample.csv": sample})
        submission.write(folder, folder / "sample.csv.zip", folder / "a.csv", folder / "a.csv.gz")
        return folder / name

    return make


def read_submission(path: Path) -> Any:
    # Either file may be the damaged one: the submission, or the sample.
    given = path.parent / "a.csv" if path.name == "sample.csv.zip" else path
    return submission.check(given, path.parent / "sample.csv.zip")


def read_score(path: Path) -> Any:
    return submission.score(path.parent / "a.csv", path)


def write_model(folder: Path) -> Path:
    torch.manual_seed(0)
    network = read_network(depth=2, width=2)
    checkpoint.save(folder / "fold-0.safetensors", models.build(network), network, SIZE)
    return folder / "fold-0.safetensors"


def read_model(path: Path) -> Any:
    trained = checkpoint.load(path)
    return digest_of(trained.model.state_dict()), trained.size


def digest_of(weights: dict[str, torch.Tensor]) -> str:
    content = [(name, tuple(each.shape), each.numpy().tobytes()) for name, each in sorted(weights.items())]
    return hashlib.sha256(repr(content).encode()).hexdigest()


def encoder() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Conv2d(4, 4, 3))


def write_encoder(name: str, **options: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        if name.endswith(".safetensors"):
            save_file(encoder().state_dict(), folder / name)
        else:
            torch.save(encoder().state_dict(), folder / name, **options)
        return folder / name

    return make


def read_encoder(path: Path) -> Any:
    from carvana.networks import zoo  # noqa: PLC0415 - seconds of imports

    made = encoder()
    zoo.load_encoder(made, path)
    return digest_of(made.state_dict())


def write_unfinished(folder: Path) -> Path:
    model = encoder()
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "history": [{"epoch": 1, "dice": 0.5}]}
    resume.save(folder / "epoch.pt", state)
    return folder / "epoch.pt"


def read_unfinished(path: Path) -> Any:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        state = resume.load(path)
    if state is None:
        assert "training starts over" in printed.getvalue()
        raise UserError(printed.getvalue())
    return repr(state)


def write_history(folder: Path) -> Path:
    epochs = [history.Epoch(number, 0.004, 0.5, 0.25, 1 / 3, 0.75, 0.625) for number in (1, 2, 3)]
    history.write(folder / "fold-0.csv", epochs)
    return folder / "fold-0.csv"


def read_params(path: Path) -> Any:
    settings = params.load(path)
    assert max(settings.train.size) <= 4096
    return settings


def read_lock(path: Path) -> Any:
    return {name: (each.deps, each.outs) for name, each in lockfile.read(path).items()}


def read_pipeline(path: Path) -> Any:
    with contextlib.chdir(path.parent):
        return definition.read("train@0")


def read_own_photos(path: Path) -> Any:
    """All photos of a zip or a file, as the cut-outs read them: the damaged ones of a zip do not end the run."""
    complaints, shapes = [], []
    with photo_files.opened([path], path.parent / "out") as found:
        for photo in found.photos:
            try:
                with photo.open() as file:
                    shapes.append(photo_pixels.read_rgb(file, photo.where).shape)
            except UserError as error:
                complaints.append(str(error))
    if complaints:
        assert all(path.name in complaint for complaint in complaints)
        raise UserError(complaints[0])
    return shapes


def read_note(path: Path) -> Any:
    """The note of a folder of cut-outs: a damaged one is written again, and what is there is made again."""
    outputs.begin(path.parent, {"kind": "png", "models": ["ab", "cd"]}, [])
    return json.loads(path.read_text(encoding="utf-8"))


def write_finished(folder: Path) -> Path:
    (folder / "dvc.lock").write_text(DVC_LOCK, encoding="utf-8")
    text = '{"models/fold-0.csv": "5eb63bbbe01eeed093cb22bb8f5acdc3"}'
    (folder / "work").mkdir(exist_ok=True)
    (folder / "work/finished.json").write_text(text, encoding="utf-8")
    return folder / "work/finished.json"


def read_finished(path: Path) -> Any:
    unfinished.discard_if_recorded(path.parent, path.parent.parent / "dvc.lock", "train@0")
    kept = path.exists()
    path.parent.mkdir(exist_ok=True)
    return kept


def write_metrics(folder: Path) -> Path:
    (folder / "evaluate.json").write_text('{"validation": {"dice": 0.99, "images": 16}}', encoding="utf-8")
    return folder / "evaluate.json"


READERS = {
    "archive": Reader(write_zip("train.zip"), read_archive),
    "archive, deflated": Reader(write_zip("test.zip", zipfile.ZIP_DEFLATED), read_archive),
    "photo": Reader(
        file_of(NAMES[0], lambda: jpeg(picture(0)[0])),
        lambda path: photos.decode_photo(path.read_bytes(), path.name, SIZE).shape,
    ),
    "mask": Reader(
        file_of(mask_of(NAMES[0]), lambda: gif(picture(0)[1])),
        lambda path: int(photos.decode_mask(path.read_bytes(), path.name).max()) <= 1,
    ),
    "cache, photos": Reader(write_cache("photos.npy"), read_cache),
    "cache, masks": Reader(write_cache("masks.npy"), read_cache),
    "cache, truth": Reader(write_cache("truth.parquet"), read_cache, checksum=True),
    "cache, index": Reader(write_cache("index.csv"), read_cache, checksum=True),
    "split": Reader(
        text_file("split.csv", "car,role\n" + "".join(f"{car},{n % 3}\n" for n, car in enumerate(CARS))),
        lambda path: split.read(path, NAMES),
    ),
    "metadata": Reader(write_metadata, split.read_makes),
    "shard": Reader(
        write_shard, lambda path: [(name, runs.tolist()) for name, runs in shards.read(path)], checksum=True
    ),
    "labels": Reader(write_labels, read_labels, checksum=True),
    "shard, names": Reader(write_shard, shards.read_names, checksum=True),
    "model": Reader(write_model, read_model, checksum=True),
    "encoder, safetensors": Reader(write_encoder("encoder.safetensors"), read_encoder),
    "encoder, torch": Reader(write_encoder("encoder.pth"), read_encoder),
    "encoder, legacy": Reader(write_encoder("encoder.pt", _use_new_zipfile_serialization=False), read_encoder),
    "unfinished training": Reader(write_unfinished, read_unfinished, checksum=True),
    "history": Reader(write_history, history.read),
    "submission": Reader(write_submission("a.csv"), read_submission),
    "submission, gzip": Reader(write_submission("a.csv.gz"), read_submission),
    "sample": Reader(write_submission("sample.csv.zip"), read_submission),
    "truth, csv": Reader(write_submission("a.csv.gz"), read_score),
    "truth, masks": Reader(
        write_masks, lambda path: [(name, runs.tolist()) for name, runs in submission._truth_rows(path)]
    ),
    "params": Reader(
        file_of("params.yaml", (ROOT / "params.yaml").read_bytes),
        read_params,
    ),
    "lock": Reader(text_file("dvc.lock", DVC_LOCK), read_lock),
    "pipeline": Reader(file_of("dvc.yaml", (ROOT / "dvc.yaml").read_bytes), read_pipeline),
    "own zip": Reader(write_zip("own.zip", zipfile.ZIP_DEFLATED), read_own_photos),
    "own zip, bzip2": Reader(write_zip("bzip2.zip", zipfile.ZIP_BZIP2), read_own_photos),
    "own zip, LZMA": Reader(write_zip("lzma.zip", zipfile.ZIP_LZMA), read_own_photos),
    **{
        f"own {kind}": Reader(
            file_of(f"own.{kind}", lambda kind=kind: small_photo(kind.upper())),  # type: ignore[misc]
            read_own_photos,
        )
        for kind in ("jpeg", "png", "webp", "bmp", "tiff")
    },
    "note of cut-outs": Reader(text_file(".cutout.json", '{"kind": "png", "models": ["ab", "cd"]}'), read_note, True),
    "finished work": Reader(write_finished, read_finished),
    "metrics": Reader(write_metrics, summary._read),
    "lock of DVC": Reader(
        text_file("rwlock", '{"read": {"a": [{"pid": 123, "cmd": "dvc"}]}, "write": {"b": {"pid": 456}}}'),
        lambda path: str(unlock.processes_of(path)),
    ),
}


# Torch's older format holds addresses of the memory, so that this file alone differs in every run.
VARIES = "encoder, legacy"
