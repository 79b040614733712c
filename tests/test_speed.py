import json
from dataclasses import asdict

import pytest

from carvana.base import speed
from carvana.base.errors import UserError
from carvana.base.speed import Speed

MADE = Speed(12.25, 96, 48.5, "openvino", "cpu", "some processor", "bfloat16", 1, 2, 2)


def test_a_record_is_read_as_it_was_written(tmp_path):
    speed.write(tmp_path / "speed/predict.json", MADE, peak_memory_mb=300)
    text = (tmp_path / "speed/predict.json").read_text(encoding="utf-8")
    assert Speed.parse(text, "predict.json") == MADE
    assert json.loads(text) == asdict(MADE) | {"peak_memory_mb": 300}


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps(asdict(MADE) | {"seconds": "12"})])
def test_another_file_is_an_error_that_names_it(text):
    with pytest.raises(UserError, match=r"predict\.json of HEAD is not a record of speed"):
        Speed.parse(text, "predict.json of HEAD")
