"""Shows the training data on a page, before any training: `python -m stages.look`. Needs `dvc repro resize split`."""

from pathlib import Path

from carvana import paths
from stages.stage import command_line, run


def main(out: Path) -> None:
    from carvana.data import cache, split
    from carvana.data.archive import Archive
    from carvana.files import whole_file
    from carvana.results import look

    truth = cache.read(paths.CACHE)
    roles = split.read(paths.SPLIT, truth.names)
    seen = look.survey(truth, roles, split.read_makes(paths.METADATA))
    with Archive(paths.TEST) as archive:
        to_predict = archive.photos
    with whole_file(out) as temporary:
        temporary.write_text(look.render(seen, truth, to_predict), encoding="utf-8")
    print(f"{len(seen)} photos and {len(look.odd(seen))} odd ones on {out}")


if __name__ == "__main__":
    parser = command_line("look", __doc__)
    parser.add_argument("--out", type=Path, default=paths.LOOK, help=f"the page, {paths.LOOK} by default")
    arguments = parser.parse_args()
    run(lambda: main(arguments.out), "look")
