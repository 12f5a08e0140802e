"""Words on figures."""

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def font(size: int) -> Font:
    """The font that comes with Pillow, the same on every machine."""
    return ImageFont.load_default(size)


def one_line(words: str, type: Font, width: float) -> str:
    """`words` on one line of at most `width` pixels, cut short with dots where needed."""
    line = " ".join(words.split())
    if type.getlength(line) <= width:
        return line
    while line and type.getlength(f"{line}...") > width:
        line = line[:-1]
    return f"{line.rstrip()}..."
