"""What processes use, by the kernel's account (proc(5)), and how ours are ended."""

import os
import signal
import subprocess

TICKS = os.sysconf("SC_CLK_TCK")


def tree(pid):
    """`pid` and its children, and theirs."""
    found, parents = [pid], {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        fields = _stat(entry)
        if fields:
            parents.setdefault(int(fields[1]), []).append(int(entry))
    for each in found:
        found.extend(parents.get(each, []))
    return found


def cpu_s(pid):
    """CPU seconds of the whole tree, ended children included."""
    total = 0
    for each in tree(pid):
        fields = _stat(each)
        # utime, stime, and those of children that were waited for
        total += sum(map(int, fields[11:15])) if fields else 0
    return total / TICKS


def pss_mib(pid):
    """Memory of the whole tree; what is shared counts once."""
    total = 0
    for each in tree(pid):
        try:
            with open(f"/proc/{each}/smaps_rollup") as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
        except OSError:
            pass
    return total / 1024


def end(child, within=30):
    """SIGTERM, and SIGKILL if that isn't heard."""
    if child.poll() is not None:
        return
    child.send_signal(signal.SIGTERM)
    try:
        child.wait(within)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _stat(pid):
    """The fields after the name, which may hold anything; `None` if the process is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return None
