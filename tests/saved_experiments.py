"""A project in which DVC has experiments that nobody has run: their outputs are written by hand."""

import contextlib
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Self

import torch
from clones import Repository
from competition_files import CARS, VIEWS, csv_text
from dvc import cli
from projects import ROOT, make_project, read_network, set_params

from carvana.base.files import write_json
from carvana.base.speed import Speed
from carvana.networks import checkpoint, models

# What the real pipeline records, in one stage without code.
PIPELINE = """
stages:
  all:
    cmd: "true"
    params: [train.size, train.epochs, train.folds, predict.flip]
    outs: [data/raw/train.zip, data/raw/train_masks.zip, data/split.csv, models/fold-0.safetensors, metrics/scores.csv,
      metrics/speed/fold-0.json, metrics/speed/predict.json, {metrics/evaluate.json: {cache: false}}]
metrics: [metrics/evaluate.json]
"""
# The first two cars are the test, the next two validate the model.
ROLES = dict(zip(CARS[:5], ["test", "test", "0", "0", "1"], strict=True))


class Project(Repository):
    """A repository of git and DVC, whose only commit has the default size and no results."""

    def __init__(self, folder: Path, competition: Path) -> None:
        super().__init__(folder)
        self.competition = competition
        make_project(folder)
        (folder / "dvc.yaml").unlink()
        (folder / "dvc.yaml").write_text(PIPELINE, encoding="utf-8")
        shutil.copyfile(ROOT / ".gitignore", folder / ".gitignore")
        self.begin()
        self.write_params()
        self.dvc("init", "-q")
        self.commit()

    @classmethod
    def copy(cls, project: Self, folder: Path) -> Self:
        """Returns a copy of a project, for a test that changes something."""
        shutil.copytree(project.folder, folder, symlinks=True)
        copied = cls.__new__(cls)
        copied.folder, copied.competition = folder, project.competition
        return copied

    def dvc(self, *words: str) -> None:
        # Not as a process of its own, which would first import DVC for a second.
        with contextlib.chdir(self.folder):
            assert cli.main(list(words)) == 0

    def write_params(self, **changes: object) -> None:
        """Writes the parameters with some changed, train_size=64 for train.size."""
        set_params(self.folder, **({"train_size": 256, "runtime_workers": 0} | changes))

    def record(self, dice: list[float], photos_per_second: float = 100.0, **changes: object) -> None:
        """Writes the results of a run with these parameters, and has DVC record them.

        `dice` are those of the photos in view 1, of four cars: two test cars, then two validation cars.
        """
        self.write_params(**changes)
        for name in ("train.zip", "train_masks.zip"):
            (self.folder / "data/raw").mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.competition / name, self.folder / "data/raw" / name)
        roles = "\n".join(f"{car},{role}" for car, role in ROLES.items())
        (self.folder / "data/split.csv").write_text(f"car,role\n{roles}\n", encoding="ascii")
        # Other weights for other results.
        torch.manual_seed(int(1e6 * dice[0]))
        network = read_network(depth=2, width=2)
        checkpoint.save(self.folder / "models/fold-0.safetensors", models.build(network), network, (64, 64))
        metrics = self.folder / "metrics"
        summary = {
            role: {"dice": sum(part) / 2, "dice_worst": min(part)}
            for role, part in (("test", dice[:2]), ("validation", dice[2:]))
        }
        write_json(metrics / "evaluate.json", summary)
        rows = [
            (f"{car}_{VIEWS[0]}.jpg", car, 1, "Kia & Sons", "test" if number < 2 else "validation", f"{each:.6f}")
            for number, (car, each) in enumerate(zip(CARS, dice, strict=False))
        ]
        scores = csv_text([["image", "car", "view", "make", "role", "dice"], *rows])
        (metrics / "scores.csv").write_text(scores, encoding="utf-8")
        speed = asdict(Speed(90.0, 9, photos_per_second, "torch", "cpu", "some processor", "float32", 1, 2))
        # Without the peak memory of this process, which differs from one experiment to the next.
        for name in ("predict", "fold-0"):
            write_json(metrics / f"speed/{name}.json", speed)
        self.dvc("commit", "-f", "-q")


def make_experiments(folder: Path, competition: Path) -> Project:
    """Returns a project with two branches that have results, an experiment of each, and one that waits in the queue."""
    project = Project(folder, competition)
    project.git("checkout", "-q", "-b", "a<base>")
    project.record([0.97, 0.95, 0.96, 0.96], 50.0, train_epochs=3)
    project.commit()
    project.record([0.98, 0.94, 0.97, 0.95], 300.0, train_epochs=3, train_size=64, predict_flip=True)
    project.dvc("exp", "save", "--name", "older")
    project.git("checkout", "-q", "-f", "main")
    project.record([0.99, 0.97, 0.98, 0.96], 100.0)
    project.commit()
    project.record([0.98, 0.975, 0.98, 0.97], 200.0, train_size=64)
    project.dvc("exp", "save", "--name", "small")
    project.dvc("exp", "run", "--queue", "--name", "waiting", "-S", "train.size=32")
    project.record([0.98, 0.975, 0.98, 0.97], 200.0, train_size=64)
    return project
