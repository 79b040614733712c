import json
from dataclasses import asdict, replace

import pytest

from carvana.base import paths, speed, unfinished
from carvana.base.errors import UserError
from carvana.base.processes import cores
from carvana.base.speed import Speed

MADE = Speed(12.25, 96, 48.5, "openvino", "cpu", "some processor", "bfloat16", 1, 2)


def test_a_record_is_read_as_it_was_written(tmp_path):
    speed.write(tmp_path / "speed/predict.json", MADE)
    made = replace(MADE, packages=unfinished.versions())
    assert speed.read(tmp_path / "speed/predict.json") == made
    content = json.loads((tmp_path / "speed/predict.json").read_text(encoding="utf-8"))
    assert content.pop("peak_memory_mb") > 10
    assert content.pop("cores") == cores()
    assert content == asdict(made) | {"packages": list(made.packages)}


def test_packages_that_are_not_those_of_a_training_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    speed.write(paths.training_speed(0), MADE)
    speed.warn_of_other_packages([0, 1])
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(speed, "versions", lambda: ("numpy 2", "simplejpeg 1"))
    speed.write(paths.training_speed(1), MADE)
    monkeypatch.setattr(speed, "versions", lambda: ("numpy 2", "simplejpeg 3"))
    speed.warn_of_other_packages([1])
    assert capsys.readouterr().err.startswith("warning: fold-1 was trained with simplejpeg 1; ")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", *(json.dumps(asdict(MADE) | {"seconds": each}) for each in ("12", True, float("inf")))]
)
def test_another_file_is_an_error_that_names_it(tmp_path, text):
    (tmp_path / "predict.json").write_text(text, encoding="ascii")
    with pytest.raises(UserError, match=r"predict\.json is not a record of speed"):
        speed.read(tmp_path / "predict.json")


def test_a_stopwatch_leaves_starting_out_of_its_rate(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(speed, "perf_counter", lambda: now[0])
    watch = speed.Stopwatch()
    now[0] += 4.0
    assert watch.photos_per_second == 0
    watch.add_photo()
    assert watch.photos_per_second == 0.25, "of a single photo, it is that of its whole time"
    for _ in range(2):
        now[0] += 0.5
        watch.add_photo()
    assert (watch.photos, watch.seconds, watch.photos_per_second) == (3, 5.0, 2.0)
