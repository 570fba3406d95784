"""Becomes a server, after binding its life to that of the thread that started this program.

Run by path: `launcher.py PARENT DEATH_SIGNAL USER GROUP COMMAND ARGUMENT...`; a user of -1 means:
as it is. A program of its own, since a `preexec_fn` may not run between fork and exec of a process
with threads.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, death_signal: int, user: int, group: int) -> None:
    """Drop privileges, ask for the signal, and become the command."""
    if user != -1:
        os.setgroups([])
        os.setgid(group)
        os.setuid(user)
    if sys.platform == "linux":
        # After setuid, which forgets the wish; before looking at the parent, which may be dead
        # already.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal)
    if os.getppid() != parent:
        sys.exit("the process that wanted this server is gone")
    try:
        os.execv(sys.argv[5], sys.argv[5:])  # noqa: S606 - no shell is wanted
    except OSError as error:
        sys.exit(f"cannot run {sys.argv[5]}: {error.strerror}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:5]))
