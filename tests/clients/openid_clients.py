"""Relying parties in Python that nobody here wrote: requests_oauth2client and authlib, against a running server.
Prints {"approve": number} where a person has to type it, and {"ok": name} for what held."""

import json
import os
import re
import sys
from html import unescape
from urllib.parse import parse_qsl, urlencode, urlsplit

import requests
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.jwk import KeySet
from requests_oauth2client import ClientSecretBasic, OAuth2Client, PrivateKeyJwt

ISSUER, REDIRECT, LOGIN = os.environ["ISSUER"], os.environ["REDIRECT"], os.environ["LOGIN"]
CLIENT, SECRET = os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"]
NUMBER = re.compile(r'<output id="number"[^>]*>(\d+)<')


def say(line):
    print(json.dumps(line), flush=True)


def sign_in(url):
    """Follows a browser's way: the whole address at which the relying party sees it again."""
    browser = requests.Session()
    page = browser.get(url)
    say({"approve": NUMBER.search(page.text)[1]})
    where = urlsplit(page.url).path
    for _ in range(60):
        form = re.search(r'<form id="return"([^>]*)>(.*?)</form>', page.text, re.S)
        if form:
            action = unescape(re.search(r'action="([^"]*)"', form[1])[1])
            fields = re.findall(r'name="([^"]*)" value="([^"]*)"', form[2])
            return action + "?" + urlencode([(unescape(n), unescape(v)) for n, v in fields])
        page = browser.get(f"{ISSUER}{where}/wait")
    raise AssertionError("the page never leads away")


def with_requests_oauth2client(auth):
    client = OAuth2Client.from_discovery_endpoint(
        issuer=ISSUER, redirect_uri=REDIRECT, testing=True, auth=auth
    )
    request = client.authorization_request(scope="openid", login_hint=LOGIN)
    pushed = client.pushed_authorization_request(request)
    answer = request.validate_callback(sign_in(pushed.uri))
    tokens = client.authorization_code(answer)
    assert tokens.id_token.claims["amr"] == ["swk", "pop", "user"], tokens.id_token.claims
    assert client.userinfo(tokens.access_token)["preferred_username"] == LOGIN


def with_authlib():
    metadata = requests.get(f"{ISSUER}/.well-known/openid-configuration").json()
    keys = KeySet.import_key_set(requests.get(metadata["jwks_uri"]).json())
    session = OAuth2Session(
        CLIENT, SECRET, scope="openid", redirect_uri=REDIRECT,
        token_endpoint_auth_method="client_secret_basic",
    )
    verifier = "v" * 43
    url, state = session.create_authorization_url(
        metadata["authorization_endpoint"],
        login_hint=LOGIN, nonce="n", code_challenge_method="S256",
        code_challenge=create_s256_code_challenge(verifier),
    )
    # it doesn't push by itself: what it would put into the address is pushed for it
    pushed = requests.post(
        metadata["pushed_authorization_request_endpoint"],
        data=parse_qsl(urlsplit(url).query), auth=(CLIENT, SECRET),
    ).json()
    query = urlencode({"client_id": CLIENT, "request_uri": pushed["request_uri"]})
    answer = sign_in(f"{metadata['authorization_endpoint']}?{query}")
    tokens = session.fetch_token(
        metadata["token_endpoint"], authorization_response=answer, state=state, code_verifier=verifier,
    )
    claims = jwt.decode(tokens["id_token"], keys).claims
    jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": ISSUER}, aud={"essential": True, "value": CLIENT},
        nonce={"essential": True, "value": "n"}, exp={"essential": True},
    ).validate(claims)


with_requests_oauth2client(ClientSecretBasic(CLIENT, SECRET))
say({"ok": "requests_oauth2client: pushed, client_secret_basic"})
with_requests_oauth2client(PrivateKeyJwt(CLIENT, json.loads(os.environ["CLIENT_JWK"]), alg="ES256"))
say({"ok": "requests_oauth2client: pushed, private_key_jwt"})
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"
with_authlib()
say({"ok": "authlib: pushed, ID token by joserfc"})
sys.exit(0)
