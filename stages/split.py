"""Writes a role for every car to data/split.csv: `python -m stages.split`."""

from carvana.base import params, paths
from carvana.base.stage import command_line, run
from carvana.competition import car_of
from carvana.data import split
from carvana.data.archive import Archive


def main() -> None:
    settings = params.load(paths.PARAMS).split
    with Archive(paths.TRAIN) as archive:
        cars = sorted({car_of(photo) for photo in archive.photos})
    makes = split.read_makes(paths.METADATA)
    roles = split.assign(cars, makes, settings.test_fraction, settings.folds, settings.seed)
    split.write(paths.SPLIT, roles)


if __name__ == "__main__":
    command_line("split", __doc__).parse_args()
    run(main, "split")
