"""privacyIDEA's API: its administrator, and the phone, which polls instead of being pushed to."""

import base64
import http.client
import json
import time
import urllib.parse
from datetime import datetime, timezone

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

PATIENCE_S = 60


class Missing(Exception):
    """Something that has to be installed first."""


class Refused(Exception):
    """It said no, or something that we don't understand."""


def call(port, method, path, token=None, body=None):
    """One request on a connection of its own: gunicorn's sync workers close it anyway."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    headers = {"Content-Type": "application/json"} if body is not None else {}
    if token:
        headers["Authorization"] = token
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        text = connection.getresponse().read()
    finally:
        connection.close()
    try:
        reply = json.loads(text)
    except ValueError:
        raise Refused(f"{method} {path.split('?')[0]}: {text[:300]!r}") from None
    if not reply.get("result", {}).get("status"):
        raise Refused(f"{method} {path.split('?')[0]}: {reply.get('result')}")
    return reply


class Admin:
    """Whoever sets up, and the integration that has checked a first factor and asks."""

    def __init__(self, port, password):
        self.port = port
        login = {"username": "peer", "password": password}
        self.token = call(port, "POST", "/auth", body=login)["result"]["value"]["token"]

    def post(self, path, **body):
        return call(self.port, "POST", path, self.token, body)

    def get(self, path, **query):
        return call(self.port, "GET", f"{path}?{urllib.parse.urlencode(query)}", self.token)

    def delete(self, path):
        return call(self.port, "DELETE", path, self.token)

    def trigger(self, user):
        """Asks `user`; gives the transaction, and the number for the page."""
        detail = self.post("/validate/triggerchallenge", user=user)["detail"]
        if not detail.get("multi_challenge"):
            raise Refused(detail.get("message") or "no challenge, and no reason")
        asked = detail["multi_challenge"][0]
        return asked["transaction_id"], asked["presence_answer"]


class Phone:
    """A user's app, with an RSA key of 2048 bits."""

    def __init__(self, admin, user):
        self.port, self.user = admin.port, user
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        made = admin.post("/token/init", type="push", genkey=1, user=user)["detail"]
        self.serial = made["serial"]
        public = self.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        call(self.port, "POST", "/ttype/push", body={
            "serial": self.serial, "enrollment_credential": made["enrollment_credential"],
            "pubkey": base64.urlsafe_b64encode(public).decode(), "fbtoken": "",
        })

    def _sign(self, text):
        signed = self.key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return base64.b32encode(signed).decode()

    def poll(self):
        """What is open, each signed by the server."""
        now = datetime.now(timezone.utc).isoformat()
        query = {"serial": self.serial, "timestamp": now, "signature": self._sign(f"{self.serial}|{now}")}
        return call(self.port, "GET", f"/ttype/push?{urllib.parse.urlencode(query)}")["result"]["value"]

    def approve(self, challenge, number):
        if number not in challenge["require_presence"].split(","):
            raise Refused(f"the phone wasn't offered {number}")
        signature = self._sign(f"{challenge['nonce']}|{self.serial}|{number}")
        reply = call(self.port, "POST", "/ttype/push", body={
            "serial": self.serial, "nonce": challenge["nonce"],
            "presence_answer": number, "signature": signature,
        })
        if reply["result"]["value"] is not True:
            raise Refused(f"the right answer was refused: {reply['result']}")


def ceremony(admin, phone):
    """Five requests, each answer checked. Milliseconds of each, and from the answer to known."""
    times, last = {}, time.perf_counter()

    def lap(step):
        nonlocal last
        now = time.perf_counter()
        times[step], last = (now - last) * 1e3, now

    begun = last
    transaction, number = admin.trigger(phone.user)
    lap("trigger")
    open_now = phone.poll()
    if len(open_now) != 1:
        raise Refused(f"{len(open_now)} requests are open on the phone, 1 expected")
    lap("phone_poll")
    phone.approve(open_now[0], number)
    lap("answer")
    # asked at the very instant: the best that a page that polls can do
    status = admin.get("/validate/polltransaction", transaction_id=transaction)
    if status["detail"]["challenge_status"] != "accept":
        raise Refused(f"approved, but the page is told {status['detail']}")
    lap("poll_transaction")
    times["answer_to_waiter"] = times["answer"] + times["poll_transaction"]
    final = call(admin.port, "POST", "/validate/check", body={
        "user": phone.user, "pass": "", "transaction_id": transaction,
    })
    if final["result"]["value"] is not True:
        raise Refused(f"approved, but not let in: {final['result']}")
    lap("check")
    times["whole"] = (time.perf_counter() - begun) * 1e3
    return times
