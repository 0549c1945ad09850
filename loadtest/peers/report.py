"""Medians, the table and what has to be said beside it."""

from statistics import median

NOTES = """\
- privacyIDEA is a whole token server: on each of five requests it reads policies and configuration from its database, \
and it writes a signed audit row. It signs what the phone polls with RSA-4096 and checks RSA-2048 of the phone. \
Countersign does one thing, keeps what is live in memory, and its devices sign with Ed25519.
- Countersign's figures hold what it does more: the guard's judgement, a hash-chained audit, a signed challenge and a \
signed receipt, a durable decision before anybody is told, a device that is reached by WebSocket.
- privacyIDEA's latency is its best case: the page asks at the instant at which the answer is through. A real page asks \
every few seconds and waits half of that more. Countersign's page waits in a long poll.
- Both are asked in a closed loop for CPU, privacyIDEA by one, two and four at a time, the best of which counts, and Countersign by as \
many as fill its core; of its arrivals at a rate, \
latency counts from the intended moment. Clients share the machine with the servers: Python's RSA here, {devices} WebSockets there. Only server CPU is counted.
- CPU of privacyIDEA is gunicorn and its workers{database}. Python workers don't share a core well with others: \
compare CPU per ceremony, and ceremonies/s only on an idle machine.
- The guard runs with a larger surge allowance in the load runs, as `loadtest` always starts it (nobody is known on the first day), and with \
every default in the pushes. privacyIDEA's rate limit is one of its templates; none is on after installation.
"""


def percentile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def middle(rounds, key):
    """The median over rounds, and the least and most."""
    values = [each[key] for each in rounds if each.get(key) is not None]
    return {"median": median(values), "min": min(values), "max": max(values)} if values else None


def shown(figure, digits=1):
    if figure is None:
        return "-"
    low, mid, high = (f"{figure[key]:.{digits}f}" for key in ["min", "median", "max"])
    return mid if low == high else f"{mid} ({low}-{high})"


def summary(found):
    """Medians of every step, and the ratio."""
    steps = {
        name: {key: middle(rounds, key) for key in rounds[0] if key not in ("steps_ms", "problems")}
        for name, rounds in found["rounds"].items() if rounds
    }
    peer = {name: step["per_core_s"]["median"] for name, step in steps.items() if name.startswith("privacyIDEA")}
    best = max(peer, key=peer.get)
    ours = {
        name: step["per_core_s"]["median"] for name, step in steps.items()
        if name.startswith("Countersign") and step["per_core_s"]
    }
    best_ours = max(ours, key=ours.get, default=None)
    ratio = best_ours and ours[best_ours] / peer[best]
    return {"steps": steps, "best_peer": best, "best_ours": best_ours, "ratio": ratio}


def markdown(found):
    told = found["summary"]
    lines = [
        f"privacyIDEA {found['versions']['privacyidea']} ({found['database']}, gunicorn -w {found['workers']}) "
        f"and Countersign, {found['cpus']} CPUs, median of the rounds that went right, of {found['count']} (least-most)", "",
        "| | ceremonies/s | server CPU ms/ceremony | ceremonies per server core-second | answer to waiter p50 ms | p99 ms "
        "| memory MiB (PSS) | cores that others used |", "|---|---|---|---|---|---|---|---|",
    ]
    for name, step in told["steps"].items():
        cells = [
            shown(step["per_s"]), shown(step["cpu_ms"], 3 if name.startswith("C") else 1),
            shown(step["per_core_s"], 2 if name.startswith("p") else 0),
            shown(step["p50_ms"], 2), shown(step["p99_ms"], 2), shown(step["pss_mib"], 0), shown(step["others_cores"], 2),
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    if told["ratio"]:
        lines += ["", f"Ceremonies per server core-second: {told['best_ours']}, has **{told['ratio']:.0f} x** those of "
                      f"{told['best_peer']}: the best of each."]
    else:
        lines += ["", "No ratio: no load run of Countersign was clean on this machine."]
    lines += ["", "| pushes in a row | asked | issued | rang | refused | the person's own sign-in afterwards | in the log |",
              "|---|---|---|---|---|---|---|"]
    for name, push in found["pushes"].items():
        log = [f"{count} {what}" for what, count in {**push["audit"], **push.get("alerts", {})}.items()]
        refused = "; ".join(f"{count} ({why})" for why, count in push["refused"].items()) or "0"
        lines.append(f"| {name} | {push['asked']} | {push['issued']} | {push['rang']} | {refused} | "
                     f"{push['own_sign_in_afterwards']} | {'; '.join(log)} |")
    lines += ["", NOTES.format(
        devices=found["devices"],
        database="; PostgreSQL's own CPU is beside it in the JSON" if found["database"] == "PostgreSQL" else " (SQLite is within)",
    )]
    lines += [f"**Wrong:** {each}" for each in found["problems"]]
    return "\n".join(lines)
