"""Countersign: the load by `loadtest run`, and a server of our own with one real authenticator for the pushes."""

import json
import os
import re
import secrets
import subprocess
import urllib.error
import urllib.request
from datetime import datetime, timezone

import proc

PLAN = """
name = "peers"
seed = {seed}
{load}
ramp_s = {ramp}
hold_s = {hold}
devices = {devices}
ttl_s = 60
pinned = {pinned}
[mix]
approve = 100
"""


class Failed(Exception):
    """It did not do what it should."""


def clean_env():
    """Without somebody's own settings, which would make this another server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COUNTERSIGN")}


def load(loadtest, home, **plan):
    """Runs a plan; gives its report with `pss_mib`, the most that its server held."""
    path, report, log = (os.path.join(home, name) for name in ["plan.toml", "report.json", "loadtest.log"])
    with open(path, "w") as file:
        file.write(PLAN.format(**plan))
    with open(log, "w") as out:
        child = subprocess.Popen(
            [loadtest, "run", path, "--json", report], cwd=home, env=clean_env(),
            stdin=subprocess.DEVNULL, stdout=out, stderr=out,
        )
    most, left = 0.0, 2 * (300 + plan["ramp"] + plan["hold"])
    try:
        while child.poll() is None:
            try:
                child.wait(0.5)
            except subprocess.TimeoutExpired:
                left -= 1
            with open(log) as said:
                server = re.search(r"started a server on \S+, pid (\d+)", said.read())
            if server:
                most = max(most, proc.pss_mib(int(server[1])))
            if left < 0:
                raise Failed("loadtest takes five minutes too long")
    finally:
        proc.end(child)
    with open(log) as said:
        text = said.read()
    if child.returncode not in (0, 1) or not os.path.exists(report):
        raise Failed(f"loadtest: exit code {child.returncode}\n{text[-2000:]}")
    with open(report) as file:
        found = json.load(file)
    os.remove(report)
    return dict(found, pss_mib=most)


class Server:
    """With every setting at its default, one user and one authenticator."""

    def __init__(self, program, authenticator, home):
        self.program, self.authenticator, self.home = program, authenticator, home
        self.data = os.path.join(home, "data")
        self.serve = self.phone = None

    def start(self):
        os.makedirs(self.home)
        env = dict(clean_env(), COUNTERSIGN__ADMIN__LISTEN="127.0.0.1:0")
        with open(os.path.join(self.home, "server.log"), "w") as log:
            self.serve = subprocess.Popen(
                [self.program, "serve", "--listen", "127.0.0.1:0", "--data", self.data],
                cwd=self.home, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True,
            )
        listening, admin = self.serve.stdout.readline(), self.serve.stdout.readline()
        if not admin:
            raise Failed(f"the server didn't start: see server.log ({listening.strip()})")
        self.url = listening.split()[-1]
        self.key = self.admin("integration", "create", "--name", "peers", "--verifies-first-factor")["api_key"]
        self.admin("user", "create", "--name", "alice")
        link = self.admin("ticket", "create", "--user", "alice", "--no-confirm")["link"]
        secret = os.path.join(self.home, "passphrase")
        with open(secret, "w") as file:
            file.write(secrets.token_urlsafe(16))
        phone = [
            self.authenticator, "--home", os.path.join(self.home, "phone"),
            "--passphrase-file", secret, "--json",
        ]
        self._said([*phone, "enrol", link])
        self.phone = subprocess.Popen(
            [*phone, "listen"], env=clean_env(), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )
        self.heard = []
        self.hear("connected")

    def hear(self, event):
        """Reads what the authenticator says until it is `event`."""
        for line in self.phone.stdout:
            said = json.loads(line)
            self.heard.append(said)
            if said["event"] == event:
                return said
        raise Failed(f"the authenticator ended before it said {event}")

    def tell(self, **line):
        self.phone.stdin.write(json.dumps(line) + "\n")
        self.phone.stdin.flush()

    def pull(self):
        """Opens the app: what didn't ring is shown too."""
        self.tell(pull=True)

    def approve(self, challenge, number):
        self.tell(challenge=challenge, number=number)
        while self.hear("settled")["challenge"] != challenge:
            pass

    def ask(self, address, session, cookie=None):
        """A challenge after a password, as the integration that checked it. Status and reply."""
        context = {"browser_session": session, "ip": address, "user_agent": "Mozilla/5.0"}
        if cookie:
            context["device_cookie"] = cookie
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        first = {"method": "password", "at": now.replace("+00:00", "Z")}
        return self.post("/v1/challenges", {"user": "name:alice", "context": context, "first_factor": first})

    def post(self, path, body):
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), {
            "Authorization": f"Bearer {self.key}", "Content-Type": "application/json",
        })
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as refused:
            return refused.code, json.load(refused)

    def admin(self, *arguments):
        return json.loads(self._said([self.program, "--json", "admin", "--data", self.data, *arguments]))

    def events(self):
        lines = self._said([self.program, "--json", "events", "--data", self.data]).splitlines()
        return [json.loads(line) for line in lines]

    def stop(self):
        for child in filter(None, [self.phone, self.serve]):
            proc.end(child)
            for pipe in filter(None, [child.stdin, child.stdout]):
                pipe.close()

    @staticmethod
    def _said(command):
        done = subprocess.run(
            command, env=clean_env(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
        )
        if done.returncode:
            raise Failed(f"{os.path.basename(command[0])}: {(done.stderr or done.stdout).strip()}")
        return done.stdout
