"""Files and folders of our own where others may write too: no link is followed, and nobody else
reads."""

import os
import stat
from contextlib import suppress
from pathlib import Path

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
MORE = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
OURS_ALONE = 0o600


def new_file(path: Path) -> int:
    """A descriptor of a new file, in the place of what is there. Raises OSError."""
    with suppress(FileNotFoundError):
        path.unlink()
    return os.open(path, NEW, OURS_ALONE)


def file_to_append(path: Path) -> int:
    """A descriptor of the file, made if it is not there. Raises OSError for a link."""
    return os.open(path, MORE, OURS_ALONE)


def own_folder(path: Path) -> int | None:
    """A descriptor of the folder itself; None if it is gone, a link, or somebody else's."""
    if path.is_symlink():
        return None
    try:
        found = os.open(path, FOLDER)  # a link that was put there since is none either
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    if os.fstat(found).st_uid == os.geteuid():
        return found
    os.close(found)
    return None


def keeps(place: Path) -> bool:
    """Whether what is ours in a folder stays what it is: nobody but its owner, who is root or we,
    can put something else in its place."""
    found = place.stat()
    shared = found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX
    return found.st_uid in (0, os.geteuid()) and not shared
