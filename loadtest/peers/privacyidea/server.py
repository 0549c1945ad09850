"""A privacyIDEA of our own: SQLite or PostgreSQL, gunicorn, data in a folder that is removed afterwards."""

import glob
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile

import proc
from privacyidea.client import Admin, Missing, Refused

# its settings as `pi-manage setup` leaves them, beside these
CONFIG = """
SECRET_KEY = {secret!r}
PI_PEPPER = {pepper!r}
SQLALCHEMY_DATABASE_URI = {database!r}
PI_ENCFILE = {home!r} + "/enckey"
PI_AUDIT_KEY_PRIVATE = {home!r} + "/private.pem"
PI_AUDIT_KEY_PUBLIC = {home!r} + "/public.pem"
PI_UUID_FILE = {home!r} + "/uuid.txt"
PI_LOGFILE = {home!r} + "/privacyidea.log"
PI_LOGLEVEL = 30
PI_NODE = "peer"
"""
SETUP = [["setup", "create_enckey"], ["setup", "create_audit_keys"], ["setup", "create_tables"]]


class Server:
    """Runs from `start` to `stop`."""

    def __init__(self, venv, home, users, postgres, workers):
        self.bin, self.home, self.workers = os.path.join(venv, "bin"), home, workers
        self.database = Postgres() if postgres else None
        self.gunicorn = None
        self.names = [f"user{n}" for n in range(users)]

    def start(self):
        os.makedirs(self.home)
        uri = self.database.start() if self.database else f"sqlite:///{self.home}/pi.sqlite"
        config = os.path.join(self.home, "pi.cfg")
        with open(config, "w") as file:
            file.write(CONFIG.format(
                home=self.home, database=uri,
                secret=secrets.token_urlsafe(24), pepper=secrets.token_urlsafe(24),
            ))
        env = dict(os.environ, PRIVACYIDEA_CONFIGFILE=config)
        password = secrets.token_urlsafe(16)
        for arguments in [*SETUP, ["admin", "add", "peer", "-p", password]]:
            self._run([os.path.join(self.bin, "pi-manage"), *arguments], env)
        listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        port = listening.getsockname()[1]
        with listening, open(os.path.join(self.home, "gunicorn.log"), "w") as log:
            self.gunicorn = subprocess.Popen(
                [
                    os.path.join(self.bin, "gunicorn"), "--no-control-socket", "--workers", str(self.workers),
                    "--bind", f"fd://{listening.fileno()}", "privacyidea.app:create_app('production')",
                ],
                env=env, cwd=self.home, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                pass_fds=[listening.fileno()],
            )
        # ours is closed: connections wait in the queue of gunicorn's, or fail if it ends
        admin = Admin(port, password)
        self._people(admin, port)
        return admin

    def _people(self, admin, port):
        """The users, in a file as on any Unix, and number matching with an app that polls."""
        passwd = os.path.join(self.home, "passwd")
        with open(passwd, "w") as file:
            for n, name in enumerate(self.names):
                file.write(f"{name}:x:{1000 + n}:{1000 + n}:{name},,,,:/nowhere:/bin/false\n")
        admin.post("/resolver/people", type="passwdresolver", fileName=passwd)
        admin.post("/realm/people", resolvers="people")
        admin.post("/defaultrealm/people")
        url = f"http://127.0.0.1:{port}/ttype/push"
        enrol = f"push_firebase_configuration=poll only, push_registration_url={url}"
        admin.post("/policy/enrol", scope="enrollment", action=enrol, active=True)
        ask = "push_require_presence=1, push_presence_options=NUMERIC"
        admin.post("/policy/ask", scope="authentication", action=ask, active=True)

    def stop(self):
        if self.gunicorn:
            proc.end(self.gunicorn)
        if self.database:
            self.database.stop()

    def log(self):
        """The end of what it said, for whoever has to find out what went wrong."""
        lines = []
        for name in ["gunicorn.log", "privacyidea.log"]:
            path = os.path.join(self.home, name)
            if os.path.exists(path):
                with open(path, errors="replace") as file:
                    lines += file.read().splitlines()[-15:]
        return "\n".join(lines)

    @staticmethod
    def _run(command, env):
        done = subprocess.run(
            command, env=env, stdin=subprocess.DEVNULL, text=True, timeout=180,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        if done.returncode:
            raise Refused(f"{' '.join(command[:3])} failed:\n{done.stdout[-2000:]}")


class Postgres:
    """A cluster of our own with default settings, on a socket in its own folder, never on a port."""

    def __init__(self):
        # Debian keeps it out of PATH
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin/pg_ctl")) or [shutil.which("pg_ctl")]
        if not found[-1]:
            raise Missing("no PostgreSQL server here: install `postgresql`, or leave --postgres out")
        self.bin = os.path.dirname(found[-1])
        # it refuses to run as root
        self.user = "postgres" if os.geteuid() == 0 else None
        self.home = self.pid = None

    def start(self):
        self.home = tempfile.mkdtemp(prefix="countersign-peers-pg-")
        if self.user:
            owner = pwd.getpwnam(self.user)
            os.chown(self.home, owner.pw_uid, owner.pw_gid)
        data, options = os.path.join(self.home, "data"), f"-c listen_addresses='' -k {self.home}"
        self._run("initdb", "-D", data, "-U", "peer", "-A", "trust", "-E", "UTF8", "--locale", "C")
        self._run("pg_ctl", "-D", data, "-w", "-o", options, "-l", os.path.join(self.home, "log"), "start")
        with open(os.path.join(data, "postmaster.pid")) as file:
            self.pid = int(file.readline())
        self._run("createdb", "-h", self.home, "-U", "peer", "peer")
        return f"postgresql+psycopg2://peer@/peer?host={self.home}"

    def stop(self):
        if self.pid:
            self._run("pg_ctl", "-D", os.path.join(self.home, "data"), "-w", "-m", "fast", "stop")
        if self.home:
            shutil.rmtree(self.home, ignore_errors=True)

    def _run(self, program, *arguments):
        done = subprocess.run(
            [os.path.join(self.bin, program), *arguments], user=self.user, cwd="/", timeout=120,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        if done.returncode:
            raise Refused(f"{program} failed: {done.stderr.strip()}")
