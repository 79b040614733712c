"""A clone of the working tree in which the whole pipeline runs in seconds, by DVC."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from projects import ROOT

# The environment's commands come first, as they do where it is activated.
TOOLS = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

TINY = {
    "demo": {"train_cars": 4, "test_cars": 1},
    "split": {"folds": 2, "test_fraction": 0.25},
    "train": {"size": 64, "patch": 1, "depth": 3, "width": 4, "epochs": 2, "learning_rate": 0.01},
    "augment": {"close_up": 0.0},
}

# In place of the project's own: large teaches fast.
_MEASURED = "measured: {{test: {}, validation: 0.9, photos_per_second: 9, training: some seconds}}\n"
RECIPES = {
    "default": "# as committed\n" + _MEASURED.format(0.8),
    "large": "# a longer training\nparams: {train: {epochs: 3}}\n" + _MEASURED.format(0.85),
    "fast": "# taught\nteacher: large\nparams: {train: {depth: 2}, predict: {flip: true}}\n" + _MEASURED.format(0.9),
}


class Repository:
    """A folder under git, which somebody commits to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self) -> None:
        self.git("init", "-q", "-b", "main")
        self.git("config", "user.name", "Test")
        self.git("config", "user.email", "test@localhost")

    def git(self, *words: str) -> str:
        return subprocess.run(["git", *words], cwd=self.folder, check=True, capture_output=True, text=True).stdout

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-qm", "state")


class Clone(Repository):
    """A clone of the working tree, committed or not, and the commands that a user types in it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        files = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        for name in subprocess.run(files, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0"):
            # What a run of the working tree has left is of another set of parameters.
            if name and name != "dvc.lock" and not name.startswith("metrics/") and (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        # What numba has compiled, which is of these files while they have the same time: half a minute of the pipeline.
        for path in (ROOT / "src").rglob("*.nb[ic]"):
            (folder / path.relative_to(ROOT)).parent.mkdir(exist_ok=True)
            shutil.copy2(path, folder / path.relative_to(ROOT))
        shutil.rmtree(folder / "recipes")
        for name, text in RECIPES.items():
            self.write_recipe(name, text)
        content = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
        for section, values in TINY.items():
            content[section] |= values
        (folder / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        self.begin()
        self.commit()

    def write_recipe(self, name: str, text: str) -> None:
        (self.folder / "recipes").mkdir(exist_ok=True)
        (self.folder / f"recipes/{name}.yaml").write_text(text, encoding="utf-8")

    def start(self, *words: str) -> subprocess.Popen:
        # Unlike bash, sh does not replace itself by its only command.
        environment = os.environ | {"PATH": TOOLS, "OMP_NUM_THREADS": "1", "SHELL": "/bin/sh"}
        command = [sys.executable, "-m", "dvc", *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(command, cwd=self.folder, env=environment, text=True, **pipes)

    def dvc(self, *words: str, fails: bool = False) -> str:
        with self.start(*words) as process:
            output, _ = process.communicate(timeout=300)
        assert (process.returncode != 0) == fails, output
        return output

    def change(self, **changes: object) -> None:
        """Changes parameters, train_size=64 for train.size, as an editor would."""
        content = self.yaml("params.yaml")
        for key, value in changes.items():
            section, _, name = key.partition("_")
            content[section][name] = value
        (self.folder / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")

    def outputs(self) -> dict[str, bytes]:
        """Everything that the stages have made, except when they did and how long it took."""
        files = [path for name in ("data", "models", "metrics") for path in (self.folder / name).rglob("*")]
        files = [path for path in files if path.is_file() and not _is_of_one_run(path.relative_to(self.folder))]
        return {str(path): path.read_bytes() for path in files}

    def read(self, name: str) -> dict:
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    def yaml(self, name: str) -> dict:
        return yaml.safe_load((self.folder / name).read_text(encoding="utf-8"))

    def model(self) -> bytes:
        return (self.folder / "models/fold-0.safetensors").read_bytes()


def _is_of_one_run(path: Path) -> bool:
    """Whether a killed stage had begun it, so that the next run replaces it, or it has a run's date or speed."""
    return (
        path == Path("metrics/report.html")
        or path.is_relative_to("metrics/speed")
        or any(part.startswith(".") and part.endswith(".tmp") for part in path.parts)
    )
