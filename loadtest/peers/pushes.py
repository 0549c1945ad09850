"""Many pushes in a row for one user whose password an attacker has, as fast as they are answered."""

import json
import secrets
import subprocess
from collections import Counter

from countersign import clean_env
from privacyidea.client import Refused

HOME, ATTACKER = "198.51.100.7", "203.0.113.9"
# privacyIDEA's own rate limit, one of the templates that it ships; none is on after the installation
TEMPLATE = "user_rate_limiting"


def privacyidea(admin, phone, count, template):
    """Asked by an integration that checked the first factor; the phone looks once, when all were asked."""
    limit = None
    if template:
        offered = admin.get("/conditionalaccess/template")["result"]["value"]
        limit = next(each["policy"] for each in offered if each["key"] == TEMPLATE)
        made = admin.post("/conditionalaccess/policy", priority=1, **limit)["result"]["value"]
    refusals = Counter()

    def asked():
        try:
            admin.trigger(phone.user)
        except Refused as refused:
            refusals[str(refused)[:160]] += 1
            return False
        return True

    query = {"user": phone.user, "action": "*triggerchallenge*", "page_size": 2000}
    before = admin.get("/audit/", **query)["result"]["value"]["count"]
    issued = sum(asked() for _ in range(count))
    open_on_phone = len(phone.poll())
    # newest first
    rows = admin.get("/audit/", **query)["result"]["value"]["auditdata"]
    rows = rows[: len(rows) - before]
    stopped = dict(refusals)
    own = asked()
    said = Counter(f"success={row['success']}: {row['info']}" for row in rows)
    if template:
        admin.delete(f"/conditionalaccess/policy/{made}")
    return {
        "asked": count, "issued": issued, "rang": open_on_phone, "refused": stopped,
        "own_sign_in_afterwards": "rings" if own else "refused", "audit": dict(said),
        "limit": limit and {key: limit[key] for key in ["name", "time_window_seconds", "stages"]},
    }


def countersign(server, count):
    """The person signs in from home once; then the attacker; then the person again, with that browser."""
    session = secrets.token_urlsafe(16)
    _, home = server.ask(HOME, session)
    server.hear("prompt")
    server.approve(home["id"], home["number"])
    _, receipt = server.post(f"/v1/challenges/{home['id']}/redeem", {"browser_session": session})
    before = len(server.heard)
    statuses = Counter(server.ask(ATTACKER, secrets.token_urlsafe(16))[0] for _ in range(count))
    session = secrets.token_urlsafe(16)
    _, again = server.ask(HOME, session, receipt["device_cookie"])
    log = server.events()
    made = {event["challenge"]: event for event in log if event["type"] == "challenge_created"}
    del made[home["id"]]  # that one rang as well, before
    own = made.pop(again["id"])
    rings = {challenge for challenge, event in made.items() if event["mode"] == "ring"}
    if own["mode"] == "ring":
        rings.add(again["id"])
    while not rings <= {each.get("challenge") for each in server.heard[before:]}:
        server.hear("prompt")
    prompts = {each["challenge"] for each in server.heard[before:] if each["event"] == "prompt"}
    if own["mode"] != "ring":
        server.pull()
        while server.hear("prompt")["challenge"] != again["id"]:
            pass
    server.approve(again["id"], again["number"])
    let_in, _ = server.post(f"/v1/challenges/{again['id']}/redeem", {"browser_session": session})
    how = "rings" if own["mode"] == "ring" else f"waits in the app ({', '.join(own['reasons'])})"
    return {
        "asked": count, "issued": statuses[201], "rang": len(prompts - {again["id"]}),
        "refused": {str(code): n for code, n in statuses.items() if code != 201},
        "own_sign_in_afterwards": f"{how}, {'let in' if let_in == 200 else 'not let in'}",
        "audit": dict(Counter(event["mode"] for event in made.values())),
        "alerts": dict(Counter(
            f"alert {short(event['alert'])}" for event in log if event["type"] == "alert"
        )),
    }


def lab(program, count):
    """The same to a person who has signed in from home on four days: the same guard, on virtual time."""
    day, lines = 86_400_000, []

    def push(at, name, address):
        lines.append({"t": at, "op": "push", "id": name, "user": "alice", "ip": address, "session": name})

    for n in range(4):
        push(n * day, f"home{n}", HOME)
        lines.append({"t": n * day + 5_000, "op": "outcome", "id": f"home{n}", "outcome": "approved"})
    for n in range(count):
        push(4 * day + 80 * n, f"attack{n}", ATTACKER)
    push(4 * day + 80 * count, "own", HOME)
    said = subprocess.run(
        [program, "guard", "--json", "lab"], input="\n".join(map(json.dumps, lines)), env=clean_env(),
        capture_output=True, text=True, timeout=60, check=True,
    )
    decided = [json.loads(line) for line in said.stdout.splitlines()]
    attack = Counter(each["decision"] for each in decided if each["id"].startswith("attack"))
    alerts = Counter(f"alert {alert}" for each in decided for alert in map(short, each["alerts"]))
    return {
        "asked": count, "issued": sum(attack.values()), "rang": attack["ring"], "refused": {},
        "own_sign_in_afterwards": "rings" if decided[-1]["decision"] == "ring" else decided[-1]["decision"],
        "audit": dict(attack), "alerts": dict(alerts),
    }


def short(alert):
    return f"{alert['kind']}, {alert['severity']}"
