"""What can go wrong with the lab, in words for the person at the terminal."""


class LabError(Exception):
    """Something the lab needs is missing or did not work.

    `message` says what happened and to what, `remedy` what to do about it (may be empty).
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(f"{message} {remedy}".strip())
        self.message = message
        self.remedy = remedy


class ToolMissing(LabError):
    """The machine lacks something (a Python, a free port, the internet): live tests are skipped outside CI."""
