#!/usr/bin/env python3
"""Where the CPU of a ceremony goes while the server's core is full, step by step, as a table.

Runs `loadtest run loadtest/plans/saturated.toml`, samples the server's stacks meanwhile with `perf record`, and shares
out what the run says that a ceremony takes, its ramp, the creates that it refused and perf's own copies among it. Takes
Linux's perf on x86-64, the right to use it for the kernel too, and release builds of loadtest and countersign side by
side. Signatures and what the kernel does for sockets are taken out of the steps that they belong to.
"""

import argparse
import collections
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SIGNATURES = r"ed25519|ecdsa|ecp_nistz|EVP_Digest(Sign|Verify)"
SOCKETS = r"^\[k\] (__)?(tcp_|inet_|sock_(read|write|recv|send))"
ALLOCATION = r"\b_?mi_|malloc|operator (new|delete)"
# the first that some frame of a stack matches; whatever is drawn apart above comes before
STEPS = [
    ("SQLite's thread: syncs", r"(?s)^comm sqlx-sqlite.*f(data)?sync"),
    ("SQLite's thread: checkpoints", r"(?s)^comm sqlx-sqlite.*[wW]alCheckpoint"),
    ("SQLite's thread: rows and pages", r"^comm sqlx-sqlite"),
    ("the writing task", r"backend_sql::writer::Task|writer::\{impl#\d+\}::(serve|transact)"),
    ("create", r"app::create|create_challenge::"),
    ("redeem", r"app::redeem|redeem_challenge::"),
    ("look, while it waits and after", r"watch_challenge|get_challenge::"),
    ("answer: judged, settled, told", r"edge_ws::(live|told)|Live::react|app::(answer|decide)"),
    ("device's socket", r"edge_ws"),
]
# else by the innermost function that isn't inlined and belongs to one of them
AROUND = [
    ("around the handlers: axum, the front, metrics", r"axum|tower|http_limits|edge_http"),
    ("hyper and its sockets, without the kernel", r"hyper"),
    ("tokio", r"tokio"),
]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--loadtest", default=ROOT / "target/release/loadtest", help="with countersign beside it [%(default)s]")
    add("--seconds", type=int, choices=range(1, 13), metavar="N", default=6, help="sampled, of the plan's 15 [6]")
    add("--rate", type=int, default=997, help="samples a second [997]")
    args = parser.parse_args()
    if not shutil.which("perf"):
        sys.exit("error: no perf (Debian: `apt install linux-perf`)")
    if not os.access(args.loadtest, os.X_OK):
        sys.exit(f"error: {args.loadtest} isn't there: `cargo build --release`, or name it with --loadtest")
    return args


def sample(args, home):
    """Runs the plan; gives the samples' file and what a ceremony took, in microseconds."""
    report, log, data = (os.path.join(home, name) for name in ["report.json", "log", "perf.data"])
    plan = ROOT / "loadtest/plans/saturated.toml"
    with open(log, "w") as out:
        run = subprocess.Popen([args.loadtest, "run", plan, "--json", report], stdout=out, stderr=out)
    try:
        said, server = "", None
        while run.poll() is None and not (server and re.search(r"^ +5 s ", said, re.M)):
            time.sleep(0.2)
            said = pathlib.Path(log).read_text()
            server = re.search(r"started a server on \S+, pid (\d+)", said)
        if run.poll() is None:
            record = ["perf", "record", "-q", "-o", data, "-F", str(args.rate), "--call-graph", "dwarf,16384"]
            if subprocess.run([*record, "-p", server[1], "--", "sleep", str(args.seconds)]).returncode:
                sys.exit("error: perf can't sample the server: kernel.perf_event_paranoid must be 1 or less, or be root")
            run.wait()
    finally:
        if run.poll() is None:
            run.send_signal(signal.SIGINT)
            run.wait()
    if not os.path.exists(report) or not os.path.exists(data):
        sys.exit(f"error: the load test ended:\n{pathlib.Path(log).read_text()[-2000:]}")
    told = json.loads(pathlib.Path(report).read_text())
    if not told["server"]["cpu_s_per_ceremony"]:
        sys.exit(f"error: no CPU of a ceremony is known: {'; '.join(told['problems'])}")
    return data, told["server"]["cpu_s_per_ceremony"] * 1e6, told["problems"]


def stacks(data):
    """Each sample as text: the thread's name, and a line for each frame, the innermost first."""
    script = ["perf", "script", "-i", data, "-F", "comm,ip,sym"]
    perf = subprocess.Popen(script, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace")
    stack = []
    for line in perf.stdout:
        line = line.rstrip()
        if not line:
            if stack:
                yield stack
            stack = []
        elif not line[0].isspace():
            stack = [f"comm {line}"]
        elif stack:
            address, _, name = line.strip().partition(" ")
            stack.append(f"[k] {name}" if address.startswith("ffffffff") else name)
    if stack:
        yield stack
    if perf.wait():
        sys.exit("error: perf can't read its samples")


def step_of(stack):
    text = "\n".join(stack)
    if re.search(SIGNATURES, text):
        return "signatures: the device's answer, the challenge's, the receipt"
    if any(re.search(SOCKETS, frame) for frame in stack):
        return "sockets in the kernel"
    for name, pattern in STEPS:
        if re.search(pattern, text):
            return name
    outlined = (frame for frame in stack[1:] if "(inlined)" not in frame and not frame.startswith("[k]"))
    found = (name for frame in outlined for name, pattern in AROUND if re.search(pattern, frame))
    return next(found, "else")


def main():
    args = arguments()
    with tempfile.TemporaryDirectory(prefix="countersign-steps-") as home:
        data, micros, problems = sample(args, home)
        print("reading the samples ..", file=sys.stderr)
        steps, allocating, kernel, count = collections.Counter(), 0, 0, 0
        for stack in stacks(data):
            count += 1
            steps[step_of(stack)] += 1
            allocating += any(re.search(ALLOCATION, frame) for frame in stack[1:3])
            kernel += stack[1:2] != [] and stack[1].startswith("[k]")
    if not kernel:
        sys.exit(f"error: of {count} samples none is of the kernel: kernel.perf_event_paranoid must be 1 or less, or be root")
    share = micros / count
    print(f"| step, {micros:.0f} us a ceremony, {count} samples | us |\n|---|---|")
    for name, hits in steps.most_common():
        print(f"| {name} | {hits * share:.1f} |")
    print(f"| of all this: in the kernel | {kernel * share:.1f} |\n| of all this: allocating | {allocating * share:.1f} |")
    for problem in problems:
        print(f"WRONG: {problem}")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
