from test_inference import settings, trained

from carvana.base.speed import Stopwatch
from carvana.data.archive import Archive
from carvana.prediction import inference, sharded


def sweep(path, folder):
    """What is in the shards of all photos of a zip, and how many photos were computed for them."""
    ensemble, watch = inference.Ensemble([trained(0)]), Stopwatch()
    with Archive(path) as archive:
        assert sharded.sweep(ensemble, archive, folder, settings(), watch) == []
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}, watch.photos


def test_shards_that_are_there_are_kept_and_damaged_or_other_ones_are_made_again(_competition, tmp_path):
    train = _competition[0] / "train.zip"
    first, photos = sweep(train, tmp_path)
    assert (list(first), photos) == ([f"{number:03d}.parquet" for number in range(5)], 10)
    kept, missing, half, flipped, other = (tmp_path / name for name in first)
    before = kept.stat().st_mtime_ns
    missing.unlink()
    half.write_bytes(first[half.name][:-100])
    data = first[flipped.name]
    flipped.write_bytes(data[:12] + bytes([data[12] ^ 1]) + data[13:])
    other.write_bytes(first[kept.name])
    assert sweep(train, tmp_path) == (first, 8), "four shards of two photos"
    assert kept.stat().st_mtime_ns == before
