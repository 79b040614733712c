"""The sizes at which networks see a photo, as multiples of the size at which they were trained."""

from carvana.base.errors import UserError


def sizes_of(size: tuple[int, int], scales: tuple[float, ...]) -> list[tuple[int, int]]:
    """Returns the size (height, width) for each of `scales` of `size`, with sides in multiples of 32, except at 1.

    Raises UserError if two sizes are equal: the photo would be averaged with itself.
    """
    scale_of: dict[tuple[int, int], float] = {}
    for scale in scales:
        height, width = (side if scale == 1 else round(side * scale / 32) * 32 or 32 for side in size)
        if (height, width) in scale_of:
            raise UserError(
                f"params.yaml: predict.scales: {scale_of[height, width]:g} and {scale:g} of train.size both round to "
                f"{height}×{width}, a multiple of 32; remove one of them"
            )
        scale_of[height, width] = scale
    return list(scale_of)
