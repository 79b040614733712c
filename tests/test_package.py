"""The library as `pip` installs it: what the wheel has, what it needs, and a photo's mask by it in another folder."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest
from competition_files import jpeg, picture
from projects import ROOT, read_network
from test_dvc_yaml import FILES

from carvana.networks import checkpoint, models

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OPTIONAL = {name for names in PROJECT["optional-dependencies"].values() for name in names}

# A photo's mask in five lines, as a user types them, and whether the templates of the pages are there.
USE = """
import carvana
model = carvana.load("fold-0.safetensors")
mask = model.mask(carvana.read_photo("car.jpg"))
assert mask.shape == (1280, 1918)
from carvana.results import charts, page, pictures
page.render("features.html", name="", photo=pictures.Picture(b"", 1, 1), levels=[])
print(carvana.__file__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel, built from a copy: setuptools writes beside what it builds."""
    folder = tmp_path_factory.mktemp("package")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, folder / name)
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, folder]
    subprocess.run(command, check=True)
    (path,) = folder.glob("carvana-*.whl")
    return path


def test_the_wheel_has_every_file_of_the_library_and_nothing_else(wheel):
    files = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "src"]
    names = subprocess.run(files, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    library = {name.removeprefix("src/") for name in names if name and (ROOT / name).exists()}
    with zipfile.ZipFile(wheel) as archive:
        assert {name for name in archive.namelist() if ".dist-info/" not in name} == library


def test_the_wheel_leads_from_a_photo_to_a_mask_in_another_folder(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    network = read_network(depth=2, width=2)
    checkpoint.save(tmp_path / "fold-0.safetensors", models.build(network), network, (64, 64))
    (tmp_path / "car.jpg").write_bytes(jpeg(picture(1)[0]))
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "installed")}
    command = [sys.executable, "-c", USE]
    done = subprocess.run(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.startswith(str(tmp_path / "installed"))


def test_what_the_library_imports_is_required():
    imported = set()
    for path in FILES.values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            imported |= {name.split(".")[0] for name in names}
    packages = importlib.metadata.packages_distributions()
    theirs = imported - set(sys.stdlib_module_names) - {"carvana"}
    needed = {normal(packages[name][0]) for name in theirs} | {"torchvision", "onnx", "onnxscript"}
    assert needed == {*map(normal, PROJECT["dependencies"]), *OPTIONAL}


def test_what_the_package_requires_has_a_tested_version():
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    tested = set(re.findall(r"^(\S+)==", text, re.MULTILINE))
    assert {*PROJECT["dependencies"], *OPTIONAL} <= tested


def test_importing_the_library_takes_no_time():
    code = "import sys; sys.path.insert(0, 'src'); import carvana; assert not {'numpy', 'torch'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower().replace("ruamel-yaml", "ruamel.yaml")
