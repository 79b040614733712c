"""Photos of every usual kind as pixels, and those that are refused."""

import importlib
import io
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from carvana.base.errors import UserError
from carvana.data import any_photo


def encoded(image, kind, **options):
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind, **options)
    return file.getvalue()


@pytest.fixture
def decoded(tmp_path):
    def read(data, name="a"):
        (tmp_path / name).write_bytes(data)
        return any_photo.read_rgba(tmp_path / name)

    return read


def test_exif_turns_and_every_usual_kind_is_read(decoded):
    photo = np.zeros((20, 30, 3), np.uint8)
    photo[:5] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise, of the camera
    for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        turned = decoded(encoded(photo, kind, exif=exif))
        assert turned.shape == (30, 20, 4)
        assert turned[:, -5:, :3].mean() > 240
    phone = encoded(photo, "MPO", save_all=True, append_images=[Image.fromarray(photo)])
    for data in (encoded(photo, "BMP"), encoded(photo[..., 0], "PNG"), phone):
        pixels = decoded(data)
        assert pixels.shape == (20, 30, 4)
        assert (pixels[..., 3] == 255).all()


def overwritten(data):
    middle = len(data) // 2
    return data[:middle] + b"\xff\x00" * 20 + data[middle + 40 :]


def cut_short(data):
    return data[:-30]


@pytest.mark.parametrize(
    ("kind", "mode", "damaged"),
    [
        ("PNG", "RGB", cut_short),
        ("JPEG", "RGB", cut_short),
        *(("JPEG", mode, overwritten) for mode in ("RGB", "L", "CMYK")),
    ],
)
def test_a_damaged_photo_is_refused(decoded, kind, mode, damaged):
    """Also where Pillow would show the rest of a JPEG in grey."""
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)).convert(mode)
    data = encoded(photo, kind)
    with Image.open(io.BytesIO(data)) as shown:
        assert np.array_equal(decoded(data), shown.convert("RGBA"))
    with pytest.raises(UserError, match="a is damaged or incomplete"):
        decoded(damaged(data))


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

# The same profile with red and green exchanged, under another name.
SWAPPED = SRGB.replace(b"rXYZ", b"-XYZ").replace(b"gXYZ", b"rXYZ").replace(b"-XYZ", b"gXYZ")
SWAPPED = SWAPPED.replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))

RED = np.full((4, 6, 3), (200, 60, 100), np.uint8)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_colours_are_converted_to_srgb(decoded, kind):
    options = {"quality": 100} if kind in ("JPEG", "WEBP") else {}
    for alpha in (255,) if kind == "JPEG" else (255, 77):
        photo = RED if alpha == 255 else np.dstack([RED, np.full(RED.shape[:2], alpha, np.uint8)])
        converted = decoded(encoded(photo, kind, icc_profile=SWAPPED, **options)).astype(int)
        assert abs(converted - (60, 200, 100, alpha)).max() <= 4


@pytest.mark.parametrize(
    ("photo", "profile"),
    [(RED, b"no profile"), (RED, SRGB), (RED[..., 0], SRGB), (RED[..., 0].astype(np.uint16) * 99, SWAPPED)],
    ids=["damaged", "sRGB", "grey", "16 bits"],
)
def test_a_profile_that_says_nothing_changes_nothing(decoded, photo, profile):
    plain = decoded(encoded(photo, "PNG"))
    assert np.array_equal(decoded(encoded(photo, "PNG", icc_profile=profile)), plain)


@pytest.mark.parametrize("shape", [(2100, 1100), (1100, 2100), (1, 3000)])
def test_all_bands_of_a_photo_are_read(decoded, shape):
    photo = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert np.array_equal(decoded(encoded(photo, "BMP"))[..., :3], photo)


@pytest.mark.parametrize(("mode", "kind"), [("I;16", "TIFF"), ("I;16", "PNG"), ("I;16B", "TIFF")])
def test_grey_of_16_bits_keeps_its_brightness(decoded, mode, kind):
    values = np.array([[0, 257, 32768, 65535]], ">u2" if mode == "I;16B" else "<u2")
    pixels = decoded(encoded(Image.frombytes(mode, (4, 1), values.tobytes()), kind))
    assert (pixels[..., :3] == np.array([0, 1, 128, 255])[:, None]).all()
    assert (pixels[..., 3] == 255).all()


@pytest.mark.parametrize("mode", ["F", "I", "LAB"])
def test_pixels_that_do_not_fit_into_8_bits_are_refused(decoded, mode):
    with pytest.raises(UserError, match=r"sky\.tif has floating-point, 32-bit or Lab pixels; convert it to 8 or 16 b"):
        decoded(encoded(Image.new(mode, (2, 2)), "TIFF"), "sky.tif")


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L"])
def test_transparency_is_kept(decoded, mode):
    photo = np.full((4, 6, 4), 255, np.uint8)
    photo[:, :3] = 0
    image, options = (photo[..., 0], {"transparency": 0}) if mode in ("P", "L") else (photo, {})
    pixels = decoded(encoded(Image.fromarray(image).convert(mode), "PNG", **options))
    assert (pixels == photo).all()
    assert (any_photo.on_white(pixels) == 255).all()


@pytest.mark.parametrize("kind", ["EPS", "GIF", "AVIF", "JPEG2000", "PPM"])
def test_no_other_kind_is_opened_whatever_its_name(decoded, kind):
    """EPS above all: Pillow would hand it to Ghostscript."""
    with pytest.raises(UserError, match=r"car\.jpg is damaged, or it is not JPEG, PNG, WebP, BMP or TIFF; convert"):
        decoded(encoded(Image.new("RGB", (32, 32)), kind), "car.jpg")


def header(width, height):
    """A PNG that says it is so large, with one row of pixels: it can be opened and not decoded."""
    data = bytearray(encoded(Image.new("1", (width, 1)), "PNG"))
    data[20:24] = height.to_bytes(4, "big")
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.filterwarnings("ignore:Image size")
@pytest.mark.parametrize("size", [(13000, 10000), (20000, 20000)])
def test_a_photo_beyond_the_limit_is_refused_before_it_is_decoded(decoded, size):
    with pytest.raises(UserError, match=r"a\.png has more than 120 megapixels, the limit; make it smaller"):
        decoded(header(*size), "a.png")


def test_the_largest_cameras_photos_are_within_the_limit(tmp_path, recwarn):
    (tmp_path / "phone.png").write_bytes(header(12000, 9000))
    importlib.reload(any_photo)  # pytest has set aside which warnings it ignores
    assert any_photo.count_pixels(tmp_path / "phone.png") == 108_000_000
    assert not recwarn.list, "nor does Pillow warn of a bomb"


def test_a_file_that_cannot_be_opened_is_named(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"nothing\.jpg is missing; check the path"):
        any_photo.read(tmp_path / "nothing.jpg")

    def forbidden(*_, **__):
        raise PermissionError

    monkeypatch.setattr(Image, "open", forbidden)
    with pytest.raises(UserError, match=r"mine\.jpg cannot be read; check its permissions"):
        any_photo.read(tmp_path / "mine.jpg")
