"""The sizes at which networks see a photo, as multiples of the size at which they were trained."""

from carvana.base.errors import UserError


def sizes_of(size: tuple[int, int], scales: tuple[float, ...]) -> list[tuple[int, int]]:
    """Returns the size (height, width) for each of `scales`, for networks trained at `size`.

    Sides are rounded to multiples of 32, except at scale 1. Raises UserError if two sizes are equal: the photo would be
    averaged with itself.
    """
    sizes = [_scaled(size, scale) for scale in scales]
    for place, (height, width) in enumerate(sizes):
        if (height, width) in sizes[:place]:
            first = scales[sizes.index((height, width))]
            raise UserError(
                f"params.yaml: predict.scales: {first:g} and {scales[place]:g} of train.size both round to "
                f"{height}×{width}, a multiple of 32; remove one of them"
            )
    return sizes


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    height, width = (side if scale == 1 else round(side * scale / 32) * 32 or 32 for side in size)
    return height, width
