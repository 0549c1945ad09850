#!/usr/bin/env python3
"""Countersign beside privacyIDEA, on one machine in one run. README.md says what is compared, and how.

Exit codes: 0 all was measured, 1 something went wrong, 2 usage, 3 something has to be installed or reached first.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

# the caches of these few files would lie in the repository
sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
REQUIREMENTS = HERE / "privacyidea" / "requirements.txt"


def bounded(least, most):
    def read(text):
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"must be between {least} and {most}, is {value}")
        return value
    return read


def arguments():
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--postgres", action="store_true", help="privacyIDEA on a PostgreSQL that is started here; SQLite otherwise")
    add("--users", type=bounded(4, 40), default=12, help="privacyIDEA's users, each with a phone [12]")
    add("--ceremonies", type=bounded(8, 1000), default=60, help="in each step of privacyIDEA [60]")
    add("--rounds", type=bounded(1, 9), default=3, help="both servers in turn [3]")
    add("--workers", type=bounded(1, 16), default=2, help="of gunicorn [2]")
    add("--in-flight", type=bounded(1, 1024), default=256, help="ceremonies of Countersign at a time under load: as many fill its core [256]")
    add("--devices", type=bounded(10, 3000), default=1500, help="of Countersign under load [1500]")
    add("--pushes", type=bounded(1, 200), default=60, help="in a row for one user [60]")
    add("--minutes", type=bounded(1, 120), default=20, help="after which it gives up [20]")
    add("--loadtest", metavar="PATH", help="built already, with countersign beside it; else cargo builds both")
    add("--authenticator", metavar="PATH", help="countersign-authenticator [beside loadtest]")
    add("--cache", metavar="DIR", default=cache, help="of the virtual environment [%(default)s]")
    add("--json", metavar="FILE", help="every figure, as JSON")
    args = parser.parse_args()
    # of one device a server takes five frames a second, and all of them bring some 4,000 ceremonies
    least = max(1000, args.in_flight)
    if args.devices < least:
        parser.error(f"--devices must be at least {least}: of fewer each would be asked more often than a server lets it answer")
    return args


def missing(why):
    print(f"error: {why}", file=sys.stderr)
    sys.exit(3)


def enter_venv(cache):
    """Makes the virtual environment if there is none with these requirements, and goes on inside."""
    venv = pathlib.Path(cache).resolve() / "countersign-peers-venv"
    python, ready = venv / "bin" / "python", venv / "requirements.txt"
    if pathlib.Path(sys.prefix).resolve() == venv:
        return venv
    if not ready.exists() or ready.read_text() != REQUIREMENTS.read_text():
        print(f"installing privacyIDEA into {venv} ..", file=sys.stderr)
        shutil.rmtree(venv, ignore_errors=True)
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", REQUIREMENTS]
        for command in [[sys.executable, "-m", "venv", venv], [python, *install]]:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            if done.returncode:
                last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-3:])
                missing(f"{last}\nIt takes Python 3.10 or newer with venv and pip (Debian: `apt install python3-venv`) and "
                        "a package index that pip can reach; set PIP_INDEX_URL if yours is elsewhere.")
        shutil.copy(REQUIREMENTS, ready)
    os.execv(python, [python, __file__, *sys.argv[1:]])


def programs(args):
    """loadtest, countersign and the authenticator."""
    if args.loadtest:
        folder = pathlib.Path(args.loadtest).resolve().parent
    else:
        root = HERE.parent.parent
        if not shutil.which("cargo"):
            missing("no cargo to build Countersign: install Rust, or name a build with --loadtest")
        if subprocess.run(["cargo", "build", "--release", "--locked"], cwd=root).returncode:
            missing("Countersign could not be built")
        told = subprocess.check_output(["cargo", "metadata", "--no-deps", "--format-version", "1"], cwd=root)
        folder = pathlib.Path(json.loads(told)["target_directory"]) / "release"
    authenticator = args.authenticator and pathlib.Path(args.authenticator).resolve()
    paths = [folder / "loadtest", folder / "countersign", authenticator or folder / "countersign-authenticator"]
    for path in paths:
        if not os.access(path, os.X_OK):
            missing(f"{path} isn't there: build it with `cargo build --release`")
    return map(str, paths)


def main():
    args = arguments()
    venv = enter_venv(args.cache)
    import compare  # it needs what only the virtual environment has
    import report

    def stop(number, _frame):
        compare.stopped.set()
        sys.exit(f"error: {'it takes too long: --minutes' if number == signal.SIGALRM else 'stopped'}")

    built = programs(args)
    for each in [signal.SIGTERM, signal.SIGINT, signal.SIGALRM]:
        signal.signal(each, stop)
    signal.alarm(60 * args.minutes)
    with tempfile.TemporaryDirectory(prefix="countersign-peers-") as home:
        try:
            found = compare.measure(args, venv, built, home)
        except compare.Missing as error:
            missing(error)
        except compare.WRONG as error:
            sys.exit(f"error: {error}")
    found["summary"] = report.summary(found)
    print(report.markdown(found))
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(found, indent=1) + "\n")
    sys.exit(1 if found["problems"] else 0)


if __name__ == "__main__":
    main()
