"""A training's history: a row an epoch, for people and for `dvc plots`."""

import csv
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from carvana.errors import UserError
from carvana.files import whole_file


@dataclass(frozen=True)
class Epoch:
    """One epoch: the learning rate at its end, mean loss per photo, and mean Dice over photos.

    `train_*` are as the photos were met, augmented; Dice is at network size but for the last, at 1918×1280.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    train_dice: float
    validation_loss: float
    validation_dice: float
    validation_dice_full_size: float


_COLUMNS = [field.name for field in fields(Epoch)]


def best(history: list[Epoch]) -> Epoch:
    """The first epoch of the highest validation Dice at full size: the one whose weights are kept."""
    return max(history, key=lambda epoch: epoch.validation_dice_full_size)


def write(path: Path, history: list[Epoch]) -> None:
    """Writes a row an epoch."""
    with whole_file(path) as temporary, temporary.open("w", encoding="ascii", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for epoch in history:
            number, learning_rate, *scores = astuple(epoch)
            writer.writerow([number, f"{learning_rate:.4g}", *(f"{score:.6f}" for score in scores)])


def read(path: Path) -> list[Epoch]:
    """The rows that `write` wrote. Raises UserError where they are not."""
    try:
        with path.open(encoding="ascii", newline="") as file:
            rows = list(csv.DictReader(file))
        return [Epoch(int(row["epoch"]), *(float(row[column]) for column in _COLUMNS[1:])) for row in rows]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path} is not a training's history ({error!r}); `dvc repro -f train` makes it") from error


def curves(histories: dict[int, list[Epoch]]) -> list[dict[str, int | str]]:
    """The histories of several folds as one table for plotting: a row an epoch and curve."""
    rows: list[dict[str, int | str]] = []
    for fold, history in histories.items():
        for epoch in history:
            for curve, loss, dice in (
                ("training", epoch.train_loss, epoch.train_dice),
                ("validation", epoch.validation_loss, epoch.validation_dice),
                ("validation at full size", None, epoch.validation_dice_full_size),
            ):
                shown = {"loss": "" if loss is None else f"{loss:.6f}", "dice": f"{dice:.6f}"}
                rows.append({"epoch": epoch.epoch, "fold": fold, "curve": curve, **shown})
    return rows
