"""A CIBA client in Python that nobody here wrote: requests_oauth2client, against a running server.
Prints {"approve": number} where a person has to type it, and {"ok": name} for what held."""

import json
import os
import time

import requests
from requests_oauth2client import (
    BackChannelAuthenticationPollingJob,
    ClientSecretBasic,
    InvalidGrant,
    OAuth2Client,
    PrivateKeyJwt,
)

ISSUER, LOGIN = os.environ["ISSUER"], os.environ["LOGIN"]
CLIENT, SECRET = os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"]
JWK = json.loads(os.environ["CLIENT_JWK"])
CLAIM = "urn:openid:params:jwt:claim:auth_req_id"
metadata = requests.get(f"{ISSUER}/.well-known/openid-configuration").json()


def say(line):
    print(json.dumps(line), flush=True)


def asks(auth, **how):
    client = OAuth2Client(
        token_endpoint=metadata["token_endpoint"],
        backchannel_authentication_endpoint=metadata["backchannel_authentication_endpoint"],
        jwks_uri=metadata["jwks_uri"],
        issuer=ISSUER,
        auth=auth,
        testing=True,
    )
    given = client.backchannel_authentication_request(scope="openid", login_hint=LOGIN, **how)
    say({"approve": given.number})
    job = BackChannelAuthenticationPollingJob(client, given)
    tokens = None
    while tokens is None:
        tokens = job()
    assert tokens.id_token.claims[CLAIM] == given.auth_req_id
    try:
        client.ciba(given)
    except InvalidGrant:
        return
    raise AssertionError("it was given tokens twice")


asks(ClientSecretBasic(CLIENT, SECRET), binding_message="W4SCT")
say({"ok": "requests_oauth2client: client_secret_basic"})
asks(PrivateKeyJwt(CLIENT, JWK, alg="ES256"), requested_expiry=120)
say({"ok": "requests_oauth2client: private_key_jwt"})
now = int(time.time())
asks(
    ClientSecretBasic(CLIENT, SECRET), private_jwk=JWK, alg="ES256",
    # it signs what it is given; the claims that CIBA Core 7.1.1 demands beside it doesn't add
    iss=CLIENT, aud=ISSUER, iat=now, nbf=now, exp=now + 60, jti="once",
)
say({"ok": "requests_oauth2client: signed request"})
