"""Cars cut out of any photos: a soft mask at the photo's own size, and the car on nothing, a colour or a picture."""

import contextlib
import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageOps

from carvana.archive import MAX_MEMBER_BYTES
from carvana.engines import Compute
from carvana.errors import UserError, first_line
from carvana.photos import HEIGHT, WIDTH
from carvana.work import whole_file

Pixels = NDArray[np.uint8]

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}
MASK = "_mask.png"

_SURE = 0.02  # the probability below which a pixel is nothing of the car; all of it, above its complement


@dataclass(frozen=True)
class Source:
    """Photos by their paths within a folder or a zip, sorted, and what gives the bytes of one."""

    names: list[PurePosixPath]
    read: Callable[[PurePosixPath], bytes]


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Source]:
    """The photos of a file, of a folder with its sub-folders, or of a zip. Raises UserError where there are none."""
    if path.is_dir():
        files = (file for file in path.rglob("*") if file.is_file())
        names = _photos(PurePosixPath(file.relative_to(path).as_posix()) for file in files)
        source = Source(names, lambda name: (path / name).read_bytes())
    elif path.suffix.lower() == ".zip":
        with _zip(path) as archive:
            names = _photos(PurePosixPath(info.filename) for info in archive.infolist() if not info.is_dir())
            yield _not_empty(Source(names, lambda name: _member(archive, name)), path)
        return
    elif path.is_file():
        source = Source([PurePosixPath(path.name)], lambda _: path.read_bytes())
    else:
        raise UserError(f"{path} is neither a photo nor a folder nor a zip")
    yield _not_empty(source, path)


def targets(names: list[PurePosixPath], folder: Path, suffix: str) -> dict[PurePosixPath, Path]:
    """Where each cut-out goes: `folder`/its path with another suffix; behind its own where two would meet.

    Raises UserError where a name of a zip leads out of the folder.
    """
    places: dict[PurePosixPath, list[PurePosixPath]] = {}
    for name in names:
        if name.is_absolute() or ".." in name.parts:
            raise UserError(f"{name} leads out of the folder; take it out of the zip")
        places.setdefault(name.with_suffix(suffix), []).append(name)
    return {
        name: folder / (place if len(sharing) == 1 else f"{name}{suffix}")
        for place, sharing in places.items()
        for name in sharing
    }


def read_photo(data: bytes, name: str) -> Pixels:
    """RGB uint8 [height, width, 3], turned as its EXIF says. Raises UserError where it is damaged."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{name} is not a whole photo ({first_line(error)})") from error


def alpha_of(photo: Pixels, size: tuple[int, int], compute: Compute) -> Pixels:
    """The car's share of every pixel, uint8 [height, width] in 0–255, of a photo [height, width, 3].

    `size` is the network's (height, width). The photo keeps its proportions in a frame of those that the network has
    learned, whose rest repeats the photo's border. Logits are enlarged bilinearly, then made probabilities, so that
    the edge is about one pixel of the network wide. What the network is all but sure of is 0 or 255: else a ghost of
    the whole studio would stay behind, not to be seen but in the way of whatever trims or counts.
    """
    height, width = photo.shape[:2]
    frame_height, frame_width = max(height, width * HEIGHT / WIDTH), max(width, height * WIDTH / HEIGHT)
    inner = (max(round(height / frame_height * size[0]), 1), max(round(width / frame_width * size[1]), 1))
    top, left = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    small = cv2.resize(photo, inner[::-1], interpolation=cv2.INTER_AREA)
    borders = (top, size[0] - inner[0] - top, left, size[1] - inner[1] - left)
    logits = compute(cv2.copyMakeBorder(small, *borders, cv2.BORDER_REPLICATE)[None])[0]
    # Without the frame first: its logits must not reach into the photo's border.
    own = np.ascontiguousarray(logits[top : top + inner[0], left : left + inner[1]])
    full = cv2.resize(own, (width, height), interpolation=cv2.INTER_LINEAR)
    share = 1 / (1 + np.exp(-np.clip(full, -30, 30)))
    return np.rint(255 * np.clip((share - _SURE) / (1 - 2 * _SURE), 0, 1)).astype(np.uint8)


def compose(photo: Pixels, alpha: Pixels, background: Pixels | None) -> Pixels:
    """The car as RGBA uint8 [height, width, 4]; with a background RGB of any size, as RGB on it, cut to fill."""
    if background is None:
        return np.dstack([photo, alpha])
    behind = _filling(background, photo.shape[:2]).astype(np.float32)
    share = alpha[..., None].astype(np.float32) / 255
    return np.rint(behind + share * (photo - behind)).astype(np.uint8)


def read_background(text: str) -> Pixels | None:
    """`none`, a colour as CSS has it (`white`, `#204060`), or a picture's path, as RGB uint8 [height, width, 3].

    Raises UserError where it is none of them.
    """
    if text == "none":
        return None
    if Path(text).is_file():
        return read_photo(Path(text).read_bytes(), text)
    try:
        return np.array(ImageColor.getrgb(text)[:3], np.uint8).reshape(1, 1, 3)
    except ValueError:
        raise UserError(f"the background {text} is neither none nor a colour (white, #204060) nor a picture") from None


def save(path: Path, picture: Pixels) -> None:
    """Writes a picture as its name's suffix says, whole or not at all; WebP is lossy, but not to be seen."""
    options = {".png": {"compress_level": 1}, ".webp": {"quality": 90, "method": 2}}[path.suffix]
    with whole_file(path) as temporary:
        Image.fromarray(picture).save(temporary, path.suffix[1:], **options)


def _photos(names: Iterator[PurePosixPath]) -> list[PurePosixPath]:
    return sorted(
        name
        for name in names
        if name.suffix.lower() in SUFFIXES and not name.name.startswith(".") and "__MACOSX" not in name.parts
    )


def _not_empty(source: Source, path: Path) -> Source:
    if not source.names:
        raise UserError(f"{path} holds no photo ({', '.join(sorted(SUFFIXES))})")
    return source


def _zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is not a whole zip file ({error})") from error


def _member(archive: zipfile.ZipFile, name: PurePosixPath) -> bytes:
    info = archive.getinfo(str(name))
    if info.file_size > MAX_MEMBER_BYTES:
        raise UserError(f"{name} would take {info.file_size} bytes; the limit is {MAX_MEMBER_BYTES}")
    return archive.read(info)


def _filling(picture: Pixels, size: tuple[int, int]) -> Pixels:
    """A picture enlarged or reduced to fill `size` (height, width), its middle kept."""
    scale = max(size[0] / picture.shape[0], size[1] / picture.shape[1])
    height, width = (max(round(side * scale), least) for side, least in zip(picture.shape[:2], size, strict=True))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    scaled = cv2.resize(picture, (width, height), interpolation=method)
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return scaled[top : top + size[0], left : left + size[1]]
