"""Directories that only their owner can enter, with those above them that are made for them."""

from contextlib import suppress
from pathlib import Path


def make_private(directory: Path) -> None:
    """Make a directory where it isn't there, and what is missing above it, each of mode 0700 whatever the umask is.

    Raises OSError where that can't be. What is there already keeps its mode.
    """
    if directory.is_dir():
        return
    make_private(directory.parent)
    with suppress(FileExistsError):  # another process was first; what is no directory shows when it is used
        directory.mkdir(mode=0o700)
        directory.chmod(0o700)
