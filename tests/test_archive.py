import pytest
from competition_files import pack

from carvana.base.errors import UserError
from carvana.data import archive
from carvana.data.archive import Archive

ONE, TWO = "0cdf5b5d0ce1_01.jpg", "0cdf5b5d0ce1_02.jpg"


def test_members_are_read_without_their_folder_and_what_a_mac_adds_is_passed_over(tmp_path):
    mac = {"a/__MACOSX/train/icon": b"", "train/.DS_Store": b""}
    pack(tmp_path / "a.zip", mac | {"train/": b"", f"train/{TWO}": b"two", f"train/{ONE}": b"one"})
    with Archive(tmp_path / "a.zip") as opened:
        assert opened.photos == [ONE, TWO]
        assert opened.read(TWO) == b"two"
        with pytest.raises(UserError, match=r"a\.zip has no 0cdf5b5d0ce1_03\.jpg"):
            opened.read("0cdf5b5d0ce1_03.jpg")


@pytest.mark.parametrize("name", ["train/car.jpg", "0cdf5b5d0ce1_17.jpg", "0cdf5b5d0ce1_01_mask.gif"])
def test_a_strange_name_is_named(tmp_path, name):
    pack(tmp_path / "a.zip", {name: b""})
    with Archive(tmp_path / "a.zip") as opened, pytest.raises(UserError, match=r"a\.zip holds .* form <car>_<view>"):
        _ = opened.photos


def test_a_missing_zip_one_with_a_name_twice_and_one_cut_short_are_named(tmp_path):
    with pytest.raises(UserError, match=r"a\.zip is missing"):
        Archive(tmp_path / "a.zip")
    pack(tmp_path / "a.zip", {f"train/{ONE}": b"", ONE.upper(): b""})
    with pytest.raises(UserError, match=r"a\.zip holds train/0cdf5b5d0ce1_01\.jpg and 0CDF5B5D0CE1_01\.JPG, which are"):
        Archive(tmp_path / "a.zip")
    pack(tmp_path / "a.zip", {f"train/{ONE}": b"0" * 1000})
    (tmp_path / "a.zip").write_bytes((tmp_path / "a.zip").read_bytes()[:700])
    with pytest.raises(UserError, match=r"a\.zip is not a complete zip"):
        Archive(tmp_path / "a.zip")


def test_a_flipped_bit_is_noticed_and_a_zip_bomb_refused(tmp_path, monkeypatch):
    pack(tmp_path / "a.zip", {ONE: b"0" * 1000})
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[500] ^= 1
    (tmp_path / "a.zip").write_bytes(data)
    with Archive(tmp_path / "a.zip") as opened:
        with pytest.raises(UserError, match=r"0cdf5b5d0ce1_01\.jpg is damaged"):
            opened.read(ONE)
        monkeypatch.setattr(archive, "MAX_MEMBER_BYTES", 999)
        with pytest.raises(UserError, match="the limit is 999"):
            opened.read(ONE)


def test_a_member_compressed_by_another_method_is_named(tmp_path):
    path = tmp_path / "a.zip"
    pack(path, {ONE: b"0" * 1000})
    whole = path.read_bytes()
    entry = whole.rindex(b"PK\x01\x02")
    for method in (9, 12, 14, 99):
        path.write_bytes(whole[: entry + 10] + bytes([method, 0]) + whole[entry + 12 :])
        with Archive(path) as opened, pytest.raises(UserError, match=r"a\.zip: 0cdf5b5d0ce1_01\.jpg is damaged"):
            opened.read(ONE)
