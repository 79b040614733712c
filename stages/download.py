"""Gets Kaggle's files into data/raw, from the source that `data.source` names: `python -m stages.download`."""

from pathlib import Path

from carvana.base import params, paths
from carvana.base.stage import command_line, run
from carvana.kaggle import sources


def main() -> None:
    settings = params.load(paths.PARAMS)
    if settings.data.source == "demo":
        import demo_studio  # and torch, for seconds

        cars = settings.demo
        demo_studio.write(paths.RAW, cars.train_cars, cars.test_cars, cars.seed, settings.runtime.workers)
    elif settings.data.source == "local":
        sources.copy_local(Path(settings.data.local_dir), settings.data.quality, paths.RAW)
    else:
        sources.fetch(settings.data.quality, paths.download(), paths.RAW)
    sources.check(paths.RAW)


if __name__ == "__main__":
    command_line("download", __doc__).parse_args()
    run(main, "download")
