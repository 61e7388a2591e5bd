"""What goes wrong, as types."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class ForetellError(ValueError):
    """Anything that this package refuses."""


class PackageError(ForetellError):
    """A model package, or what one should be made of, that no worker would serve.

    Attributes:
        file: The file that is refused.
        reason: One sentence with the field and the remedy. Where the worker refuses the same thing it is
            the sentence that the worker logs and ``foretell model check`` prints.
    """

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(f"{file}: {reason}")
        self.file = file
        self.reason = reason


class RefusedError(ForetellError):
    """A reason without its file, which the caller knows and adds."""


class NoForecastError(ForetellError):
    """A window for which the worker would publish no forecast."""


@contextmanager
def about(path: Path) -> Iterator[None]:
    """Adds the file to a refusal."""
    try:
        yield
    except RefusedError as refusal:
        raise PackageError(str(path), str(refusal)) from refusal.__cause__
