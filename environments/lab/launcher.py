"""Starts one program so that it ends when its parent ends, even by kill -9. Run as a script, imports nothing of ours.

    launcher.py PARENT_PID SIGNAL UID GID PROGRAM ARGUMENTS…      (UID and GID -1: stay who we are)

In a process of its own rather than in Popen's preexec_fn, which may deadlock in a program with threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    parent, death_signal, uid, gid = (int(value) for value in sys.argv[1:5])
    command = sys.argv[5:]
    if gid >= 0:
        os.setgroups([])
        os.setgid(gid)
    if uid >= 0:
        os.setuid(uid)
    # After setuid: changing credentials forgets the wish.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal)
    if os.getppid() != parent:  # it died before we asked to be told
        sys.exit(1)
    # A Ctrl-C ignored by our parent (nohup) would be ignored by the program too, and it could not be stopped.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
