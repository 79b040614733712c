"""Prints the layers of the network of params.yaml, with the shape of their output: `carvana layers`."""

from carvana.base import params, paths


def main() -> None:
    from carvana.networks import models

    settings = params.load(paths.PARAMS).train
    print(models.summary(models.build(settings.network), settings.size))
