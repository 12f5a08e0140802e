"""A kernel without what only ever meets the border, exactly the same convolution.

Deep in a network few frames and pixels are left. Where an axis has a single output, every tap of the kernel meets one
place, and those beside the picture meet zeros: of a 3x3x3 kernel on one frame two thirds, of which every weight would
be read.
"""

from torch import Tensor, nn

from multav.gradient_twin import kept


def seen_taps(
    convolution: nn.Conv3d, input: Tensor, weight: Tensor, sizes: list[int]
) -> tuple[Tensor, tuple[int, int, int]]:
    """The part of `weight` (out, C, t, h, w) that meets `input` (B, C, T, H, W), and the padding that is left.

    `sizes` are the output's along the three axes. The convolution has zero padding and no dilation.
    """
    spans, padding = [], []
    for axis, size in enumerate(sizes):
        before, length = int(convolution.padding[axis]), convolution.kernel_size[axis]
        if size == 1:
            spans.append((before, min(length, input.shape[axis + 2] + before)))
            padding.append(0)
        else:
            spans.append((0, length))
            padding.append(before)
    if all(span == (0, length) for span, length in zip(spans, convolution.kernel_size, strict=True)):
        return weight, (padding[0], padding[1], padding[2])
    time, rows, columns = (slice(*span) for span in spans)
    part = kept(
        convolution, ("seen taps", id(weight), *spans), lambda: weight[:, :, time, rows, columns].clone()
    )
    return part, (padding[0], padding[1], padding[2])
