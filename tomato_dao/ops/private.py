"""Private directories, accessible only for their owner."""

from contextlib import suppress
from pathlib import Path


def make_private(directory: Path) -> None:
    """Create a directory, and missing directories above it, with mode 0700 whatever the umask is.

    Existing directories keep their mode. Raises OSError if a directory cannot be created.
    """
    if directory.is_dir():
        return
    make_private(directory.parent)
    with suppress(FileExistsError):  # another process created it; anything but a directory fails on use
        directory.mkdir(mode=0o700)
        directory.chmod(0o700)
