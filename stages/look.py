"""The training data on a page, before any training: `python -m stages.look`. Wants `dvc repro resize split`."""

import argparse
from pathlib import Path

from carvana import cache, look, paths, split
from carvana.archive import Archive
from carvana.work import whole_file
from stages.stage import run


def main(out: Path) -> None:
    truth = cache.read(paths.CACHE)
    seen = look.survey(truth, split.read(paths.SPLIT), split.read_makes(paths.METADATA))
    with Archive(paths.TEST) as archive:
        to_predict = archive.photos
    with whole_file(out) as temporary:
        temporary.write_text(look.write(seen, truth, to_predict), encoding="utf-8")
    print(f"{len(seen)} photos and {len(look.odd(seen))} odd ones on {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=paths.LOOK, help=f"the page, {paths.LOOK} unless said otherwise")
    arguments = parser.parse_args()
    run(lambda: main(arguments.out), "look")
