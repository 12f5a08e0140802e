"""How long something takes, in words."""


def in_words(seconds: float) -> str:
    """Days, hours, minutes or seconds, whichever says it in a small whole number."""
    for length, name in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {name}"
    return f"{seconds:.0f} s" if seconds >= 1 else "less than a second"
