"""Photos and masks as bytes, in the formats of Kaggle's files."""

# Numba infers the types of its functions.
# ruff: noqa: ANN001, ANN202

import numba
import numpy as np
import simplejpeg

JPEG_QUALITY = 55
LARGEST_CODE = 4095


def jpeg(photo: np.ndarray) -> bytes:
    """Returns a photo, uint8 [rows, columns, 3] RGB, as a baseline JPEG with halved colour resolution."""
    return simplejpeg.encode_jpeg(np.ascontiguousarray(photo), JPEG_QUALITY, "RGB", "420", fastdct=False)


@numba.njit(cache=True)
def _lzw(pixels, packed):
    """Packs pixels, uint8 of 0 and 1, by GIF's LZW with a code size of 2; returns the number of bytes."""
    clear, end = 4, 5
    children = np.zeros((LARGEST_CODE + 1, 2), np.int16)
    free, bits = end + 1, 3
    held, held_bits, length = np.uint64(clear), bits, 0
    prefix = np.int32(pixels[0])
    for position in range(1, len(pixels) + 1):
        if position < len(pixels):
            value = pixels[position]
            child = children[prefix, value]
            if child > 0:
                prefix = child
                continue
        held |= np.uint64(prefix) << np.uint64(held_bits)
        held_bits += bits
        if position == len(pixels):
            held |= np.uint64(end) << np.uint64(held_bits)
            held_bits += bits
        elif free <= LARGEST_CODE:
            children[prefix, value] = free
            if free == 1 << bits:
                bits += 1
            free += 1
        else:
            held |= np.uint64(clear) << np.uint64(held_bits)
            held_bits += bits
            children[:] = 0
            free, bits = end + 1, 3
        if position < len(pixels):
            prefix = np.int32(value)
        while held_bits >= 8 or (position == len(pixels) and held_bits > 0):
            packed[length] = held & np.uint64(255)
            length += 1
            held >>= np.uint64(8)
            held_bits -= 8
    return length


def gif(mask: np.ndarray) -> bytes:
    """Returns a mask, uint8 [rows, columns] of {0, 1}, as a GIF89a with the palette black, white.

    Pillow is several times slower, and writes a GIF87a with a padded palette.
    """
    rows, columns = mask.shape
    packed = np.empty(mask.size + 64, np.uint8)
    data = packed[: _lzw(mask.reshape(-1), packed)].tobytes()
    size = columns.to_bytes(2, "little") + rows.to_bytes(2, "little")
    blocks = [data[start : start + 255] for start in range(0, len(data), 255)]
    return b"".join([
        b"GIF89a", size, b"\xf0\x00\x00", b"\x00\x00\x00\xff\xff\xff",
        b"!\xf9\x04\x00\x00\x00\x00\x00", b",\x00\x00\x00\x00", size, b"\x00", b"\x02",
        *(bytes([len(block)]) + block for block in blocks), b"\x00;",
    ])  # fmt: skip
