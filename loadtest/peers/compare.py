"""Both servers in turn, and what is measured of them. Runs inside the virtual environment that run.py makes."""

import concurrent.futures
import importlib.metadata
import itertools
import os
import subprocess
import sys
import threading
import time

import countersign
import proc
import pushes
from privacyidea.client import Missing, Phone, Refused, ceremony
from privacyidea.server import Server
from report import percentile

THREADS = [1, 2, 4]
QUIET, LOAD, BELOW = "Countersign, 2/s", "Countersign, {} at a time", "Countersign, arrivals at 60 % of that"
# where next to none has to be refused, even if the machine is slower for a while
BELOW_SHARE = 0.6
WRONG = (Refused, countersign.Failed, OSError, subprocess.SubprocessError)

# set by a signal: threads end with the ceremony that they are in
stopped = threading.Event()


class Watch:
    """Time, and the CPU that neither we nor what we started used meanwhile."""

    def __init__(self, *daemons):
        self.daemons = daemons
        self.begun, self.busy = time.perf_counter(), self._others()

    def _others(self):
        with open("/proc/stat") as file:
            user, nice, system, _idle, _wait, irq, soft, *_ = map(int, file.readline().split()[1:])
        ours = sum(proc.cpu_s(pid) for pid in [os.getpid(), *self.daemons])
        return (user + nice + system + irq + soft) / proc.TICKS - ours

    def stop(self):
        seconds = time.perf_counter() - self.begun
        return seconds, max(0.0, self._others() - self.busy) / seconds


def peer_name(threads):
    return f"privacyIDEA, {threads} thread{'s' * (threads > 1)}"


def peer_step(server, admin, phones, threads, count):
    """`count` ceremonies by so many threads, each with phones of its own."""
    def work(thread):
        mine = phones[thread::threads]
        turns = itertools.takewhile(lambda _: not stopped.is_set(), range(count // threads))
        return [ceremony(admin, mine[n % len(mine)]) for n in turns]

    database = server.database and server.database.pid
    watch, before = Watch(*[database] if database else []), proc.cpu_s(server.gunicorn.pid)
    database_before = database and proc.cpu_s(database)
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        times = [each for some in pool.map(work, range(threads)) for each in some]
    seconds, others = watch.stop()
    cpu = (proc.cpu_s(server.gunicorn.pid) - before) / len(times)
    known = [each["answer_to_waiter"] for each in times]
    return {
        "per_s": len(times) / seconds, "cpu_ms": cpu * 1e3, "per_core_s": 1 / cpu,
        "database_cpu_ms": (proc.cpu_s(database) - database_before) / len(times) * 1e3 if database else None,
        "p50_ms": percentile(known, 0.5),
        # as the load test does: of fewer, it is the longest
        "p99_ms": percentile(known, 0.99) if len(known) >= 100 else None,
        "whole_p50_ms": percentile([each["whole"] for each in times], 0.5),
        "pss_mib": proc.pss_mib(server.gunicorn.pid), "others_cores": others,
        "steps_ms": {step: percentile([each[step] for each in times], 0.5) for step in times[0]},
    }


def our_step(loadtest, home, with_cpu, **plan):
    watch = Watch()
    # under load on a core of its own: the other one is the client's
    told = countersign.load(loadtest, home, pinned=str(with_cpu).lower(), **plan)
    _, others = watch.stop()
    known = told["latency_ms"]["answer_to_waiter"] or {}
    # at a low rate it is a few ticks of the kernel's clock
    cpu = told["server"]["cpu_s_per_ceremony"] if with_cpu else None
    return {
        "per_s": told["ceremonies_per_s"], "cpu_ms": cpu and cpu * 1e3, "per_core_s": cpu and 1 / cpu,
        "p50_ms": known.get("p50"), "p99_ms": known.get("p99"), "pss_mib": told["pss_mib"],
        "others_cores": others, "problems": told["problems"],
    }


def our_round(loadtest, home, args, seed, found):
    def step(name, with_cpu, load, **plan):
        done = our_step(loadtest, home, with_cpu, seed=seed, load=load, **plan)
        if done["problems"]:
            # its figures are beside the point
            found["problems"] += [f"{name}: {each}" for each in done["problems"]]
            return None
        found["rounds"][name].append(done)
        return done["per_s"]

    step(QUIET, False, "rate = 2", ramp=1, hold=20, devices=20)
    busy = {"ramp": 3, "hold": 10, "devices": args.devices}
    most = step(LOAD.format(args.in_flight), True, f"in_flight = {args.in_flight}", **busy)
    if not most:
        found["problems"].append("Countersign's load of a round doesn't count, and so there are no arrivals at a share of it")
    else:
        step(BELOW, True, f"rate = {BELOW_SHARE * most:.1f}", **busy)


def measure(args, venv, programs, home):
    loadtest, program, authenticator = programs
    found = {
        "versions": {name: importlib.metadata.version(name) for name in ["privacyidea", "gunicorn"]},
        "database": "PostgreSQL" if args.postgres else "SQLite", "workers": args.workers, "cpus": os.cpu_count(),
        "count": args.rounds, "devices": args.devices, "problems": [], "pushes": {},
        "rounds": {name: [] for name in [*map(peer_name, THREADS), QUIET, LOAD.format(args.in_flight), BELOW]},
    }
    peer = Server(venv, os.path.join(home, "privacyidea"), args.users + 2, args.postgres, args.workers)
    ours = countersign.Server(program, authenticator, os.path.join(home, "countersign"))
    try:
        print("setting up privacyIDEA; each phone costs it an RSA key of 4096 bits ..", file=sys.stderr)
        admin = peer.start()
        with concurrent.futures.ThreadPoolExecutor(args.workers) as pool:
            phones = list(pool.map(lambda name: Phone(admin, name), peer.names))
        # of whom nothing is remembered when the pushes come
        victims = [phones.pop(), phones.pop()]
        for phone in phones[: 2 * args.workers]:
            ceremony(admin, phone)
        for turn in range(args.rounds):
            for threads in THREADS:
                name = peer_name(threads)
                print(f"round {turn + 1}: {name}", file=sys.stderr)
                found["rounds"][name].append(peer_step(peer, admin, phones, threads, args.ceremonies))
            print(f"round {turn + 1}: Countersign", file=sys.stderr)
            our_round(loadtest, home, args, turn + 1, found)
        print(f"{args.pushes} pushes in a row", file=sys.stderr)
        told = found["pushes"]
        told["privacyIDEA as installed"] = pushes.privacyidea(admin, victims[0], args.pushes, False)
        told["privacyIDEA with its per-user rate limit"] = pushes.privacyidea(admin, victims[1], args.pushes, True)
        ours.start()
        told["Countersign as installed, on the person's first day"] = pushes.countersign(ours, args.pushes)
        told["Countersign's guard, after four days (`guard lab`)"] = pushes.lab(program, args.pushes)
    except Exception:
        print(peer.log(), file=sys.stderr)
        raise
    finally:
        ours.stop()
        peer.stop()
    return found
