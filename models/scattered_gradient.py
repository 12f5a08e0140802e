"""The gradient of a stem by its input, from the few places that a max pool kept.

Max pooling hands each gradient to one value out of its window, so that behind a 3x3x3 pool of stride 2 seven of eight
values are zero. A dense convolution multiplies the zeros too. Here each value that is left adds its multiple of the
kernel to the pixels it came from: the same products without the zeros.

The pixels lie in memory as (frame, row, column, 4): red, green, blue and one unused. A row of the kernel, seven
columns and one of zeros, is then four vectors of eight floats, and as the stem's stride is two columns each of them is
loaded and stored where the processor likes it, at multiples of 32 bytes.
"""

from functools import partial
from itertools import pairwise
from typing import Any, Final

import numpy as np
import torch
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from torch import Tensor
from torch.nn import functional

from models.parallel import in_parallel
from multav.compiled import compiled

MOST_CHANNELS: Final = 4
"""That a clip may have."""

# Floats a pixel, a vector, and a row of the kernel (eight columns).
_PIXEL: Final = MOST_CHANNELS
_VECTOR: Final = 8
_KERNEL_ROW: Final = 8 * _PIXEL
_ROWS: Final = 7
# Channels at a time: their kernels take a tenth of a megabyte.
_BLOCK: Final = 16


def scattered_gradient(
    gradient: Tensor,
    values: Tensor,
    places: Tensor,
    weight: Tensor,
    *,
    shape: torch.Size,
    stride_time: int,
) -> Tensor:
    """The gradient (B, C, T, H, W) by the clips of relu(max pool(convolution(clips))).

    Args:
        gradient: by the output, float32 (B, out, t, h, w) on the CPU, contiguous like all others.
        values: the output itself; where it is not positive, ReLU lets nothing through.
        places: int32, of each output the place of the largest value in (T', H', W') counted through.
        weight: (out, C, k, 7, 7) of the convolution, with C <= `MOST_CHANNELS`, stride (`stride_time`, 2, 2) and
            padding (k // 2, 3, 3).
        shape: of the clips.

    A sample's gradient is the same to the bit in any batch and with any number of threads.
    """
    batch, channels, frames = shape[:3]
    # (out, C, k, 7, 7) -> (out, k, 7, 8, 4)
    kernel = functional.pad(
        weight.permute(0, 2, 3, 4, 1), (0, _PIXEL - channels, 0, _KERNEL_ROW // _PIXEL - weight.shape[4])
    ).contiguous()
    result = gradient.new_empty(shape)
    # Few samples are cut along time, so that every thread has work.
    parts = min(frames, -(-torch.get_num_threads() // batch))
    cuts = [frames * part // parts for part in range(parts + 1)]
    in_parallel(
        [
            partial(
                _scatter_frames,
                gradient[sample].numpy(),
                values[sample].numpy(),
                places[sample].numpy(),
                kernel,
                result[sample].numpy(),
                first=first,
                last=last,
                stride_time=stride_time,
            )
            for sample in range(batch)
            for first, last in pairwise(cuts)
        ]
    )
    return result


def _scatter_frames(
    gradient: Any,
    values: Any,
    places: Any,
    kernel: Tensor,
    result: Any,
    *,
    first: int,
    last: int,
    stride_time: int,
) -> None:
    """One sample's gradient by the frames `first` to `last`, into `result` (C, T, H, W)."""
    height, width = result.shape[2:]
    rows, columns = -(-height // 2), -(-width // 2)
    # One column more than the last kernel row needs, so that rows begin at multiples of 32 bytes. Torch's memory
    # begins at multiples of 64.
    pixels = torch.zeros(last - first, 2 * rows + _ROWS - 1, 2 * columns + 6, _PIXEL)
    _scatter(
        gradient,
        values,
        places,
        kernel.reshape(-1).numpy(),
        pixels.reshape(-1).numpy(),
        (first, last, pixels.shape[1], pixels.shape[2]),
        (rows, columns),
        (kernel.shape[1], stride_time),
    )
    _unpack(pixels.numpy(), result, first)


@intrinsic  # type: ignore[untyped-decorator]
def _add_kernel_row(context: Any, pixels: Any, at: Any, kernel: Any, start: Any, factor: Any) -> Any:
    """pixels[at : at + 32] += factor * kernel[start : start + 32], both at multiples of eight."""
    del context, at, start, factor
    signature = types.void(pixels, types.uint64, kernel, types.uint64, types.float32)

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(ir.FloatType(), _VECTOR)
        number = ir.IntType(32)

        def vectors(array: Any, kind: Any, index: Any) -> list[Any]:
            data = context.make_array(kind)(context, builder, array).data
            first = builder.bitcast(builder.gep(data, [index]), vector.as_pointer())
            return [builder.gep(first, [ir.Constant(number, i)]) for i in range(_KERNEL_ROW // _VECTOR)]

        pixels, at, kernel, start, factor = arguments
        targets = vectors(pixels, signature.args[0], at)
        sources = vectors(kernel, signature.args[2], start)
        undefined = ir.Constant(vector, ir.Undefined)
        one = builder.insert_element(undefined, factor, ir.Constant(number, 0))
        everywhere = builder.shuffle_vector(
            one, undefined, ir.Constant(ir.VectorType(number, _VECTOR), [0] * _VECTOR)
        )
        # Multiplies and adds in one step where the processor can.
        multiply_add = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vector, [vector] * 3), "llvm.fmuladd.v8f32"
        )
        align = 4 * _VECTOR
        sums = [
            builder.call(
                multiply_add,
                [everywhere, builder.load(source, align=align), builder.load(target, align=align)],
            )
            for source, target in zip(sources, targets, strict=True)
        ]
        for total, target in zip(sums, targets, strict=True):
            builder.store(total, target, align=align)
        return context.get_dummy_value()

    return signature, emit


@compiled
def _scatter(
    gradient: Any,
    values: Any,
    places: Any,
    kernel: Any,
    pixels: Any,
    frames: tuple[int, int, int, int],
    size: tuple[int, int],
    time: tuple[int, int],
) -> None:
    """Add every gradient's multiple of its channel's kernel to `pixels`.

    `frames`: the first and the last frame, and the rows and columns of a frame. `size`: rows and columns of the
    convolution's output. `time`: the kernel's length in frames and its stride. The order keeps a few channels'
    kernels and a band of pixels in the processor's own memory.
    """
    first, last, frame_rows, frame_columns = frames
    rows, columns = size
    length, stride = time
    channels, pooled_frames, pooled_rows, pooled_columns = gradient.shape
    for pooled_frame in range(pooled_frames):
        for block in range(0, channels, _BLOCK):
            for pooled_row in range(pooled_rows):
                for channel in range(block, min(block + _BLOCK, channels)):
                    for pooled_column in range(pooled_columns):
                        factor = gradient[channel, pooled_frame, pooled_row, pooled_column]
                        value = values[channel, pooled_frame, pooled_row, pooled_column]
                        if factor == np.float32(0) or value <= np.float32(0):
                            continue
                        place = places[channel, pooled_frame, pooled_row, pooled_column]
                        frame = place // (rows * columns)
                        inside = place - frame * (rows * columns)
                        row = inside // columns
                        column = inside - row * columns
                        earliest = frame * stride - length // 2
                        for tap in range(max(0, first - earliest), min(length, last - earliest)):
                            start = np.uint64((channel * length + tap) * _ROWS * _KERNEL_ROW)
                            frame_at = (earliest + tap - first) * frame_rows + 2 * row
                            at = np.uint64((frame_at * frame_columns + 2 * column) * _PIXEL)
                            for _ in range(_ROWS):
                                _add_kernel_row(pixels, at, kernel, start, factor)
                                start += np.uint64(_KERNEL_ROW)
                                at += np.uint64(frame_columns * _PIXEL)


@compiled
def _unpack(pixels: Any, result: Any, first: int) -> None:
    """(frames, rows, columns, 4) with a border of three -> the frames from `first` of (C, T, H, W)."""
    for channel in range(result.shape[0]):
        for frame in range(pixels.shape[0]):
            for row in range(result.shape[2]):
                for column in range(result.shape[3]):
                    result[channel, first + frame, row, column] = pixels[frame, row + 3, column + 3, channel]
