import pytest
from projects import small_disk

from carvana.kaggle import submission_log


def test_an_entry_never_joins_a_line_that_a_crash_cut_off(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"id": 1}\n{"id": ')
    submission_log.append(path, {"b": "é", "a": 1})
    submission_log.append(path, {"id": 3})
    assert path.read_bytes() == b'{"id": 1}\n{"id": \n{"a": 1, "b": "\\u00e9"}\n{"id": 3}\n'


def test_a_full_disk_is_an_error_and_the_next_entry_is_whole(tmp_path):
    with small_disk(tmp_path / "disk", "4k") as enlarge:
        path = tmp_path / "disk/log.jsonl"
        submission_log.append(path, {"id": 1})
        with pytest.raises(OSError, match="No space left"):
            submission_log.append(path, {"id": 2, "text": "x" * 5000})
        enlarge("1m")
        submission_log.append(path, {"id": 3})
        lines = path.read_bytes().splitlines()
    assert lines[0] == b'{"id": 1}'
    assert lines[-1] == b'{"id": 3}'
