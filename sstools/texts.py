"""Numbers in sentences."""


def counted(number: int, one: str, many: str = "") -> str:
    """1 -> "1 asset", 1204 -> "1,204 assets"; `many` where it is not `one` with an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
