"""How a long operation tells what it is doing; this one keeps silent."""

__all__ = ["Progress"]


class Progress:
    """Hears about the stages of an operation and ignores them; subclasses show them."""

    def stage(self, title: str, steps: int | None = None) -> None:
        """Another stage begins, of so many steps when that is known."""

    def advance(self) -> None:
        """One step of the stage is done."""

    def text(self, text: str) -> None:
        """The whole text generated so far."""
