import pytest

from carvana.base.errors import UserError
from carvana.commands import summary


@pytest.mark.parametrize("text", ["", "[]", '{"test": 1}', '{"test": {"dice": 0.9}}', '{"test": {"dice": null}}'])
@pytest.mark.parametrize("read", [summary.evaluated, summary.scored])
def test_an_edited_file_is_named(tmp_path, read, text):
    path = tmp_path / "metrics.json"
    path.write_text(text.replace("test", "leaderboard"), encoding="ascii")
    with pytest.raises(UserError, match=r"metrics\.json cannot be read .*; `dvc repro` makes it again"):
        read(path)


def test_a_missing_submission_is_named(tmp_path, monkeypatch):
    (tmp_path / "metrics").mkdir()
    for name in ("evaluate", "leaderboard"):
        (tmp_path / f"metrics/{name}.json").write_text('{"leaderboard": {}}', encoding="ascii")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UserError, match=r"submission\.csv or data/submission\.csv\.gz is missing; `dvc repro` makes it"
    ):
        summary.show()
