import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading

import pytest
from projects import ROOT

from carvana.base import files
from carvana.base.errors import UserError


@pytest.mark.parametrize("whole", [files.whole_file, files.whole_folder])
def test_a_file_or_a_folder_appears_whole_or_not_at_all(tmp_path, whole):
    target = tmp_path / "new" / "target"

    def write(content):
        with whole(target) as temporary:
            (temporary if whole == files.whole_file else temporary / content).write_text(content, encoding="ascii")
            assert content != "half"

    write("first")
    write("second")
    with pytest.raises(AssertionError):
        write("half")
    (found,) = [path for path in target.parent.rglob("*") if path.is_file()]
    assert found.read_text(encoding="ascii") == "second"
    assert target in (found, found.parent)
    assert list(target.parent.iterdir()) == [target]


def test_what_a_killed_process_left_behind_is_replaced(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("kept", encoding="ascii")
    # As a process leaves it that is killed between the link and the rename.
    os.link(elsewhere, tmp_path / ".file.tmp")
    (tmp_path / ".folder.tmp").mkdir()
    (tmp_path / ".folder.tmp" / "half").touch()
    with files.whole_file(tmp_path / "file") as temporary:
        temporary.write_text("new", encoding="ascii")
    with files.whole_folder(tmp_path / "folder"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "file", "folder"]
    assert elsewhere.read_text(encoding="ascii") == "kept"
    assert not list((tmp_path / "folder").iterdir())


@pytest.mark.parametrize("whole", [files.whole_file, files.whole_folder])
def test_content_is_on_the_disk_before_its_name_and_the_name_before_the_writer_goes_on(tmp_path, monkeypatch, whole):
    """Else a power cut could leave an empty file, and not even the earlier one."""
    done, inodes = [], lambda path: path.stat().st_ino
    for name, of in (("fsync", lambda number, *_: os.fstat(number).st_ino), ("replace", lambda path, *_: inodes(path))):
        work = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *words, of=of, work=work: (done.append(of(*words)), work(*words)))
    target = tmp_path / "target"
    with whole(target) as temporary:
        inner = temporary if whole == files.whole_file else temporary / "inner"
        inner.write_text("content", encoding="ascii")
    written = dict.fromkeys([inodes(target), inodes(target if target.is_file() else target / "inner")])
    assert done == [*reversed(written), inodes(target), inodes(tmp_path)], "fsync of each, replace, fsync"


@pytest.mark.parametrize("failing", ["the rename", "the removal", "the work, after a kill"])
def test_a_folder_is_there_whatever_fails_while_it_is_replaced(tmp_path, monkeypatch, failing):
    target, replace = tmp_path / "target", os.replace
    (target / "first").mkdir(parents=True)

    def fail(*words, **options):
        raise OSError(errno.ENOTEMPTY, "Directory not empty")

    with monkeypatch.context() as patch, contextlib.suppress(OSError):
        if failing == "the rename":
            patch.setattr(os, "replace", lambda old, new: (fail if old.name == ".target.tmp" else replace)(old, new))
        elif failing == "the removal":
            patch.setattr(os, "rmdir", fail)
        else:
            target.rename(tmp_path / ".target.old.tmp")
        with files.whole_folder(target) as temporary:
            (temporary / "second").touch()
            if "kill" in failing:
                fail()
    assert [path.name for path in target.iterdir()] == ["second" if failing == "the removal" else "first"]
    with files.whole_folder(target):
        pass
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_is_written_without_listing_its_folder(tmp_path, monkeypatch):
    """Listing takes 19 ms in a folder of 20,000 files, and cut-outs of Kaggle's test photos are 100,064."""
    with monkeypatch.context() as patch:
        for name in ("listdir", "scandir"):
            patch.setattr(os, name, lambda _: pytest.fail("a folder is listed"))
        with files.whole_file(tmp_path / "file") as temporary:
            temporary.touch()
    assert (tmp_path / "file").exists()


def test_what_another_thread_is_writing_stays(tmp_path):
    names = ["a1.png", "a1.jpg", "a1.png.png", "a[1].png", "a*.png"]
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(files.whole_file(tmp_path / name)).touch()
    assert {path.name for path in tmp_path.iterdir()} == set(names)


HOLD = "import sys, time; sys.path.insert(0, sys.argv[1]); from pathlib import Path; from carvana.base import files\n"
HOLD += "with files.only_writer(Path(sys.argv[2]), 'train'): print('held', flush=True); time.sleep(60)"


def test_a_second_writer_is_refused_until_the_first_is_gone_even_killed(tmp_path, capfd):
    with subprocess.Popen([sys.executable, "-c", HOLD, ROOT / "src", tmp_path], stdout=subprocess.PIPE) as first:
        assert first.stdout.readline() == b"held\n"
        refused = pytest.raises(UserError, match=rf"another train \(process {first.pid}\)")
        with refused, files.only_writer(tmp_path, "train", patience=0.2):
            pass
        with files.only_writer(tmp_path, "predict"):
            pass
        threading.Timer(0.5, first.kill).start()
        with files.only_writer(tmp_path, "train"):
            assert first.wait(1) == -signal.SIGKILL, "waited for the end of the first"
    assert capfd.readouterr().err.count(f"waiting for another train (process {first.pid})\n") == 2


def test_json_is_sorted_so_that_the_same_content_is_the_same_bytes(tmp_path):
    files.write_json(tmp_path / "a.json", {"b": 1, "a": 2})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "a": 2,\n  "b": 1\n}\n'
