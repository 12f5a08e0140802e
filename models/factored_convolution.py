"""R(2+1)D's idea: a 3x3x3 convolution as one in space (1x3x3) and one in time (3x1x1) with about as many parameters.

Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition" (2018), equation in section 3.5.
"""


def factored_width(channels: int, width: int, *, size: int = 3, time: int = 3) -> int:
    """Channels between the two, rounded down.

    So many that `channels * size^2 + time * width` of each give the parameters of the whole, `channels * width *
    time * size^2`.
    """
    whole = channels * width * time * size * size
    return whole // (channels * size * size + time * width)
