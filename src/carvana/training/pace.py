"""How fast a training goes, for the user: how long it will take in all, and in a log a line for each epoch."""

from time import perf_counter

from carvana.base.console import duration, in_terminal, say
from carvana.training.history import Epoch, best

_PATIENCE = 10.0  # seconds of training before the first estimate
_FORWARD = 1 / 3  # of a training step's time; a validation takes no more


class Pace:
    """The time that one run of a training has spent since it began or resumed; `quiet` says nothing."""

    def __init__(self, photos: int, validated: int, epochs: int, done: int, *, quiet: bool) -> None:
        self._photos, self._validated = photos, validated
        self._epochs, self._resumed = epochs, done
        self._quiet, self._estimated = quiet, quiet
        self._begun = self._epoch_begun = perf_counter()
        self._first: float | None = None
        self._since_first = 0
        self._rate = 0.0

    def add_step(self, photos: int) -> None:
        """Counts a step; says once, after the first steps, how long all epochs will take."""
        now = perf_counter()
        if self._first is None:
            # Not counted: the first step also starts workers, and chooses or compiles kernels.
            self._first = now
            return
        self._since_first += photos
        if not self._estimated and now - self._first >= _PATIENCE:
            each = (self._photos + _FORWARD * self._validated) * (now - self._first) / self._since_first
            self._estimate(each)

    def end_steps(self) -> None:
        """Notes that all steps of an epoch are done, and that its validation begins."""
        self._rate = self._photos / (perf_counter() - self._epoch_begun)

    def add_epoch(self, history: list[Epoch]) -> None:
        """Counts an epoch, the last of `history`; says in a log how it went and how long the others will take."""
        now = perf_counter()
        self._epoch_begun = now
        epoch = history[-1]
        each = (now - self._begun) / (epoch.epoch - self._resumed)
        if not self._estimated and in_terminal():
            self._estimate(each)
        if not self._quiet and not in_terminal():
            left = duration((self._epochs - epoch.epoch) * each)
            say(f"{self._line(epoch, is_best=best(history) is epoch)}, {left} left")
        self._estimated = True

    def _estimate(self, each: float) -> None:
        self._estimated = True
        epochs = self._epochs - self._resumed
        say(f"{epochs} epochs of about {duration(each)}: {duration(epochs * each)} in all")

    def _line(self, epoch: Epoch, *, is_best: bool) -> str:
        return (
            f"epoch {epoch.epoch}/{self._epochs}: "
            f"loss {epoch.train_loss:.4f} (validation {epoch.validation_loss:.4f}), "
            f"Dice at full size {epoch.validation_dice_full_size:.5f}{' (best)' if is_best else ''}, "
            f"learning rate {epoch.learning_rate:.4g}, {self._rate:,.1f} photos/s"
        )
