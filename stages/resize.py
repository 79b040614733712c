"""Writes photos and soft masks at `train.size` to data/cache: `python -m stages.resize`."""

from carvana.base import params, paths
from carvana.base.stage import command_line, run


def main() -> None:
    from carvana.data import cache

    settings = params.load(paths.PARAMS)
    cache.write(paths.TRAIN, paths.TRAIN_MASKS, paths.CACHE, settings.train.size, settings.runtime.workers)


if __name__ == "__main__":
    command_line("resize", __doc__).parse_args()
    run(main, "resize")
