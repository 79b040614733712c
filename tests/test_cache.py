import errno
import os
import shutil
import subprocess
import sys
import weakref

import numpy as np
import pytest
from competition_files import gif, picture, repack
from projects import ROOT, small_disk

from carvana.base.errors import UserError
from carvana.competition import mask_of
from carvana.data import cache, photos
from carvana.data.archive import Archive
from carvana.masks import rle, shards

SIZE = (64, 96)
NAME = "331659860e11_02.jpg"


def write(kaggle, folder, workers=1):
    cache.write(kaggle / "train.zip", kaggle / "train_masks.zip", folder, SIZE, workers)


@pytest.fixture(scope="module")
def made(_competition, tmp_path_factory):
    """The cache of all photos of train.zip."""
    folder = tmp_path_factory.mktemp("made") / "cache"
    write(_competition[0], folder)
    return cache.read(folder)


@pytest.fixture
def folder(made, tmp_path):
    """The same in a folder of the test's own."""
    return shutil.copytree(made.folder, tmp_path / "cache")


def test_rows_are_what_the_decode_path_makes(kaggle, made):
    assert made.size == SIZE
    with Archive(kaggle / "train.zip") as archive, Archive(kaggle / "train_masks.zip") as masks:
        assert made.names == archive.photos
        for row, name in enumerate(made.names):
            photo = photos.decode_photo(archive.read(name), name, SIZE)
            assert np.array_equal(made.read_photos(np.array([row]))[0], photo)
            mask = photos.decode_mask(masks.read(mask_of(name)), name)
            assert np.array_equal(made.read_truth(np.array([row]))[0], rle.to_runs(mask))
            assert np.array_equal(made.read_masks(np.array([row]))[0], photos.soften(mask, SIZE))


def test_bytes_do_not_depend_on_the_number_of_processes(kaggle, folder, tmp_path):
    write(kaggle, tmp_path / "two", 2)
    for name in ("photos.npy", "masks.npy", "truth.parquet", "index.csv"):
        assert (folder / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_bad_picture_is_named_and_the_earlier_cache_stays(kaggle, folder):
    before = (folder / "photos.npy").read_bytes()
    data = gif(picture(0)[1] * 3)
    repack(kaggle / "train_masks.zip", lambda members: members.update({f"train_masks/{mask_of(NAME)}": data}))
    with pytest.raises(UserError, match=r"331659860e11_02_mask\.gif has the values 0, 3"):
        write(kaggle, folder, workers=2)
    assert (folder / "photos.npy").read_bytes() == before
    assert [path.name for path in folder.parent.glob("*cache*")] == ["cache"], "nothing half-written is left"


def test_photos_with_given_masks_make_the_same_rows_without_truth(kaggle, made, tmp_path):
    rows = np.random.default_rng(0).integers(0, len(made.names), 50)
    names, runs = [made.names[row] for row in rows], made.read_truth(rows)
    cache.write_labelled(kaggle / "train.zip", names, runs, tmp_path / "pseudo", SIZE, 2)
    labelled = cache.read(tmp_path / "pseudo", labelled=True)
    assert labelled.names == names
    assert np.array_equal(labelled.read_photos(np.arange(50)), made.read_photos(rows))
    assert np.array_equal(labelled.read_masks(np.arange(50)), made.read_masks(rows))
    digests = (made.folder / "index.csv").read_text(encoding="ascii").splitlines()
    assert set((tmp_path / "pseudo/index.csv").read_text(encoding="ascii").splitlines()) <= set(digests)
    with pytest.raises(UserError, match=r"truth\.parquet is not an intact file"):
        cache.read(tmp_path / "pseudo")


@pytest.mark.parametrize("workers", [0, 1])
def test_given_masks_are_taken_as_they_are_needed_and_not_kept(kaggle, tmp_path, workers):
    taken = []

    def one_by_one():
        for _ in range(20):
            assert sum(each() is not None for each in taken) < 8
            runs = np.array([[1, 9]], np.int32)
            taken.append(weakref.ref(runs))
            yield runs

    names = [NAME] * 20
    cache.write_labelled(kaggle / "train.zip", names, one_by_one(), tmp_path / "pseudo", SIZE, workers)
    assert cache.read(tmp_path / "pseudo", labelled=True).names == names


def test_a_cache_of_no_photos_needs_no_zip(tmp_path):
    cache.write_labelled(tmp_path / "nothing.zip", [], [], tmp_path / "pseudo", SIZE, 2)
    empty = cache.read(tmp_path / "pseudo", labelled=True)
    assert (empty.names, empty.size) == ([], SIZE)
    assert empty.read_photos(np.arange(0)).shape == (0, *SIZE, 3)


@pytest.mark.parametrize("reserves", [True, False])
def test_a_full_disk_is_a_plain_message_and_leaves_no_debris(kaggle, tmp_path, monkeypatch, reserves):
    """On a real tmpfs of 1 MiB: a memory map would kill the process there (SIGBUS). Not every system reserves space."""
    if not reserves:
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    with small_disk(tmp_path / "small", "1m"):
        with pytest.raises(OSError, match="No space left") as refused:
            cache.write(kaggle / "train.zip", kaggle / "train_masks.zip", tmp_path / "small/cache", (512, 512), 2)
        assert refused.value.errno == errno.ENOSPC
        assert list((tmp_path / "small").iterdir()) == []


PEAKS = """
import sys
from pathlib import Path
import numpy as np
sys.path.insert(0, sys.argv[1])
from carvana.data import cache
for folder in sys.argv[2:]:
    made = cache.read(Path(folder))
    for row in range(0, len(made.names), 2):
        made.read_photos(np.arange(row, row + 2)).sum()
    print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the peak of one process alone")
def test_memory_does_not_grow_with_the_number_of_photos(tmp_path):
    """Every row of a cache is read, in batches: 150 rows are 150 MB, but the peak is that of 10."""
    folders = {count: tmp_path / str(count) for count in (10, 150)}
    for count, folder in folders.items():
        folder.mkdir()
        for name, shape in (("photos", (count, 512, 512, 3)), ("masks", (count, 512, 512))):
            np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.uint8, shape)
        names = [str(row) for row in range(count)]
        (folder / "index.csv").write_text("\n".join(["image,digest", *(f"{name}," for name in names), ""]))
        shards.write(folder / "truth.parquet", names, [np.empty((0, 2), np.int32)] * count)
    printed = subprocess.check_output([sys.executable, "-c", PEAKS, ROOT / "src", *folders.values()])
    small, large = (int(kibibytes) // 1024 for kibibytes in printed.split())
    assert large < small + 40


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("photos", lambda array: array.astype(np.int8)),
        ("photos", np.asfortranarray),
        ("masks", lambda array: array[:-1]),
    ],
)
def test_an_array_of_another_form_is_refused(folder, kind, change):
    path = folder / f"{kind}.npy"
    np.save(path, np.load(path))
    assert cache.read(folder).size == SIZE
    np.save(path, change(np.load(path)))
    with pytest.raises(UserError, match="cache is not a complete cache"):
        cache.read(folder)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("photos.npy", lambda data: data + b"0"),
        ("photos.npy", lambda data: data[:-1]),
        ("photos.npy", lambda data: b"PK\x03\x04" + data[4:]),
        ("photos.npy", lambda data: data[:10] + b"(" * 60 + data[70:]),
        ("masks.npy", lambda data: b""),
        ("index.csv", lambda data: b"image,digest\n"),
        ("index.csv", lambda data: data.replace(b",digest", b"")),
        ("index.csv", lambda data: data + b"\xff,\n"),
        ("truth.parquet", lambda data: data[:100]),
    ],
)
def test_a_damaged_file_is_refused(folder, name, change):
    path = folder / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UserError, match=r"cache is not a complete cache|truth\.parquet is not an intact file"):
        cache.read(folder)


@pytest.mark.parametrize(("labelled", "stage"), [(False, "resize"), (True, "label")])
def test_a_missing_cache_says_what_makes_it(tmp_path, labelled, stage):
    with pytest.raises(UserError, match=f"nothing is not a complete cache .*`dvc repro {stage}`"):
        cache.read(tmp_path / "nothing", labelled=labelled)


@pytest.fixture
def two(kaggle, made, tmp_path):
    """The cache of train.zip, and one of test.zip with made-up masks."""
    names, runs = ["fffe00001111_02.jpg", "fffe00001111_01.jpg"], [np.array([[1, 9]], np.int32)] * 2
    cache.write_labelled(kaggle / "test.zip", names, runs, tmp_path / "pseudo", SIZE, 1)
    return made, cache.read(tmp_path / "pseudo", labelled=True)


@pytest.mark.parametrize("rows", [[3, 0, 3], [11, 10], [10, 2, 11, 9, 2], []])
def test_rows_of_the_second_follow_those_of_the_first_and_are_read_in_the_order_asked_for(two, rows):
    both = two[0].followed_by(two[1])
    assert both.size == SIZE
    assert both.names == two[0].names + two[1].names
    for read in (cache.Cache.read_photos, cache.Cache.read_masks):
        every = np.concatenate([read(each, np.arange(len(each.names))) for each in two])
        found = read(both, np.array(rows, int))
        assert found.dtype == np.uint8
        assert np.array_equal(found, every[rows])


def test_the_digest_is_of_every_byte_of_both(two, kaggle, tmp_path):
    real, pseudo = two
    mask = gif(picture(3)[1])
    repack(kaggle / "train_masks.zip", lambda members: members.update({f"train_masks/{mask_of(NAME)}": mask}))
    write(kaggle, tmp_path / "other")
    other = cache.read(tmp_path / "other")
    both = [real.followed_by(pseudo), other.followed_by(pseudo), real.followed_by(other)]
    assert len({each.digest() for each in (*both, real, pseudo, other)}) == 6
