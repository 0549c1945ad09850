"""Ask for a sign-in by number matching, wait for the person, check the receipt.

    mfa = Countersign(url, api_key, integration)
    session = new_session()                        # keep it in the browser's own session
    challenge = mfa.start("alice", session, first_factor="password")
    show(challenge.number)                         # in that browser, and nowhere else
    approved = mfa.wait(challenge.id, session)     # raises NotApproved

What comes back from `wait` is redeemed and its receipt checked: nothing else is a sign-in.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Iterable, Mapping

import jwt
import requests

__all__ = ["Approved", "Challenge", "Countersign", "CountersignError", "NotApproved", "new_session"]

#: Seconds that the server is asked to wait for a change: below what proxies in between allow.
POLL_S = 25
#: Seconds before a request is given up: what a poll takes, and a slow connection.
TIMEOUT_S = POLL_S + 10
#: Tries of a request that didn't get through, and seconds before the first of them.
TRIES, PAUSE_S = 5, 0.5


class CountersignError(Exception):
    """The server refused. `code` is stable (docs/problems.md); `status` is 0 if it wasn't reached."""

    def __init__(self, status: int, code: str, detail: str, request_id: str | None = None) -> None:
        super().__init__(f"{code}: {detail}" + (f" (request {request_id})" if request_id else ""))
        self.status, self.code, self.detail, self.request_id = status, code, detail, request_id


class NotApproved(Exception):
    """The sign-in ended otherwise; `state` says how: denied, reported, mismatch, expired, cancelled, superseded."""

    def __init__(self, state: str) -> None:
        super().__init__(f"the sign-in was not approved: {state}")
        self.state = state


@dataclass(frozen=True)
class Challenge:
    """A sign-in under way. `number` is None once it is decided. Its repr doesn't show the number."""

    id: str
    number: str | None
    digits: int
    methods: tuple[str, ...]
    expires_at: str

    def __repr__(self) -> str:
        return f"Challenge(id={self.id!r}, digits={self.digits}, expires_at={self.expires_at!r})"


@dataclass(frozen=True)
class Approved:
    """A sign-in that was redeemed. Keep `device_cookie` in the browser for 180 days and send it next time."""

    claims: Mapping[str, Any]
    receipt: str
    device_cookie: str

    def __repr__(self) -> str:
        return f"Approved(sub={self.claims.get('sub')!r}, challenge={self.claims.get('challenge')!r})"


def new_session() -> str:
    """A browser session to bind a sign-in to: 256 random bits."""
    return secrets.token_urlsafe(32)


class Countersign:
    """One integration's way to a server. Threads may share it.

    `integration` is the id (`int_..`) that `integration create` printed: receipts for others are refused.
    `public_url` is the server's own, if `url` is another way to it.
    """

    def __init__(
        self, url: str, api_key: str, integration: str, *, public_url: str | None = None
    ) -> None:
        self._url = url.rstrip("/")
        self._issuer = (public_url or url).rstrip("/") + "/receipt"
        self._integration = integration
        self._authorization = {"Authorization": f"Bearer {api_key}"}
        self._local = threading.local()
        self._keys: dict[str, jwt.PyJWK] = {}

    def start(
        self,
        user: str,
        session: str,
        *,
        first_factor: str | None = None,
        ip: str | None = None,
        user_agent: str | None = None,
        device_cookie: str | None = None,
        purpose: str | None = None,
        methods: Iterable[str] | None = None,
        ttl_s: int | None = None,
        details: Mapping[str, str] | None = None,
    ) -> Challenge:
        """Asks for a sign-in of a user, by name or by id (`usr_..`). `first_factor` names what was checked just now, such as "password": without it
        nothing rings. Asked again for the same session it is the same challenge."""
        context = {"ip": ip, "user_agent": user_agent, "device_cookie": device_cookie}
        body: dict[str, Any] = {
            "user": user if user.startswith(("usr_", "name:")) else f"name:{user}",
            "context": {"browser_session": session} | _given(context),
        }
        if first_factor is not None:
            now = datetime.now(timezone.utc).isoformat(timespec="seconds")
            body["first_factor"] = {"method": first_factor, "at": now}
        listed = [{"label": label, "value": value} for label, value in (details or {}).items()]
        more = {"purpose": purpose, "ttl_s": ttl_s, "details": listed or None}
        body |= _given(more | {"methods": list(methods) if methods is not None else None})
        # a try that got through although its answer didn't is not asked for twice
        key = {"Idempotency-Key": secrets.token_urlsafe(24)}
        made = self._send("POST", "/v1/challenges", json=body, headers=key)
        return Challenge(
            made["id"], made.get("number"), made["digits"], tuple(made["methods"]), made["expires_at"]
        )

    def wait(self, challenge: str, session: str) -> Approved:
        """Waits until it is decided, redeems it and checks the receipt.

        Raises NotApproved if it ended otherwise, CountersignError if it can't be redeemed (any more)."""
        while True:
            state = self._send("GET", f"/v1/challenges/{challenge}", params={"wait": POLL_S})["state"]
            if state == "approved":
                return self.redeem(challenge, session)
            if state != "pending":
                raise NotApproved(state)

    def state(self, challenge: str) -> str:
        """Where it stands now. "approved" is no proof yet: `wait` or `redeem` it."""
        return self._send("GET", f"/v1/challenges/{challenge}")["state"]

    def redeem(self, challenge: str, session: str) -> Approved:
        """Turns an approval into a receipt, once, within a minute of it."""
        body = {"browser_session": session}
        got = self._send("POST", f"/v1/challenges/{challenge}/redeem", json=body)
        claims = self.verify(got["receipt"], session)
        if claims["challenge"] != challenge:
            raise CountersignError(0, "receipt_invalid", "the receipt is of another challenge")
        return Approved(claims, got["receipt"], got["device_cookie"])

    def code(self, challenge: str, code: str) -> str:
        """Tries a TOTP or recovery code on it: the state then. A wrong one raises CountersignError `code_wrong`."""
        return self._send("POST", f"/v1/challenges/{challenge}/code", json={"code": code})["state"]

    def cancel(self, challenge: str) -> str:
        """Ends it: the state then, which may be an earlier decision."""
        return self._send("DELETE", f"/v1/challenges/{challenge}")["state"]

    def verify(self, receipt: str, session: str) -> Mapping[str, Any]:
        """Checks a receipt offline: signature, issuer, audience, time, and that it is this browser session's.

        Keys are fetched once, and again when a receipt names one that isn't known."""
        try:
            header = jwt.get_unverified_header(receipt)
            if header.get("typ") != "countersign-receipt+jwt":
                raise jwt.InvalidTokenError("not a receipt")
            claims = jwt.decode(
                receipt,
                self._key(header.get("kid", "")),
                algorithms=["ES256"],
                audience=self._integration,
                issuer=self._issuer,
                leeway=30,
                options={"require": ["exp", "iat", "aud", "iss", "sub", "bsh", "challenge"]},
            )
        except jwt.InvalidTokenError as error:
            raise CountersignError(0, "receipt_invalid", str(error)) from None
        digest = hashlib.sha256(session.encode()).digest()
        bound = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if not hmac.compare_digest(claims["bsh"], bound):
            raise CountersignError(0, "receipt_invalid", "the receipt is another browser session's")
        return claims

    def _key(self, kid: str) -> jwt.PyJWK:
        if kid not in self._keys:
            listed = self._send("GET", "/.well-known/jwks.json")["keys"]
            self._keys = {key["kid"]: jwt.PyJWK(key, algorithm="ES256") for key in listed}
        if kid not in self._keys:
            raise jwt.InvalidTokenError("signed by a key that the server doesn't list")
        return self._keys[kid]

    def _send(self, method: str, path: str, *, headers: dict[str, str] | None = None, **more: Any) -> Any:
        """Sends what may be sent twice, until it gets through."""
        # connections are kept, and one thread's are its own
        if not hasattr(self._local, "http"):
            self._local.http = requests.Session()
            self._local.http.trust_env = False
        headers = self._authorization | (headers or {})
        for left in reversed(range(TRIES)):
            pause = PAUSE_S * 2 ** (TRIES - 1 - left)
            try:
                reply = self._local.http.request(
                    method, self._url + path, headers=headers, timeout=TIMEOUT_S,
                    allow_redirects=False, **more
                )
            except requests.RequestException as error:
                if left == 0:
                    raise CountersignError(0, "unreachable", type(error).__name__) from None
            else:
                if reply.ok:
                    return reply.json()
                if reply.status_code not in (429, 503) or left == 0:
                    raise _refusal(reply)
                after = reply.headers.get("Retry-After", "")
                pause = min(int(after), POLL_S) if after.isdigit() else pause
            time.sleep(pause * (0.5 + secrets.randbelow(1000) / 1000))
        raise AssertionError("the last try returns or raises")


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _refusal(reply: requests.Response) -> CountersignError:
    try:
        body = reply.json()
    except requests.JSONDecodeError:
        body = {}
    code, detail = body.get("code", "unexpected"), body.get("detail") or body.get("title") or reply.reason
    return CountersignError(reply.status_code, code, detail, body.get("request_id"))
