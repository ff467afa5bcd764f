"""The one exception that means "the user's input is wrong".

Every check of a file, an option or a design raises it; the command line
prints its message as one line on stderr and exits with status 2.
"""

__all__ = ["InputError"]

_LONGEST = 200


def _shown(found: object) -> str:
    """``repr`` that never fails and is never longer than a line."""
    try:
        text = repr(found)
    except (ValueError, RecursionError):  # Python does not print integers of 4300 digits
        return f"a value of type {type(found).__name__} that is too long to show"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


class InputError(ValueError):
    """Wrong input, told in one line.

    Parameters
    ----------
    where : str
        The file, option or object at fault, e.g. ``designs/my.toml``.
    field : str
        The field inside it, dotted, e.g. ``buffers.weight_bytes``; may be empty.
    found : object
        The value that was found; ``None`` when the field is missing.
    allowed : str
        What would have been accepted.
    """

    def __init__(self, where, field, found, allowed):
        self.where = str(where)
        self.field = str(field)
        self.found = found
        self.allowed = str(allowed)
        parts = [self.where]
        if self.field:
            parts.append(self.field)
        parts.append("missing" if found is None else f"found {_shown(found)}")
        super().__init__(": ".join(parts) + f"; allowed: {self.allowed}")
        self.args = (" ".join(str(self).split()),)
