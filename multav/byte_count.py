"""How many bytes something takes, in words."""


def in_bytes(count: float) -> str:
    """In GB, MB or kB (powers of 1000), whichever says it without a zero in front."""
    for size, name, digits in ((1e9, "GB", 1), (1e6, "MB", 0)):
        # What would be rounded up to 1000 of the smaller unit is one of the larger.
        if count >= 0.9995 * size:
            return f"{count / size:.{digits}f} {name}"
    return f"{count / 1e3:.0f} kB" if count >= 500 else f"{count:.0f} bytes"
