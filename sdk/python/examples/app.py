import os

from countersign import Countersign, NotApproved, new_session
from flask import Flask, request, session

app = Flask(__name__)
app.secret_key = os.urandom(32)
mfa = Countersign(*(os.environ[f"COUNTERSIGN_{name}"] for name in ("URL", "KEY", "INTEGRATION")))


@app.post("/login")
def login():
    if request.form["password"] != "correct horse":  # your own check
        return "Wrong name or password", 403
    session["binding"] = new_session()
    challenge = mfa.start(request.form["user"], session["binding"], first_factor="password", ip=request.remote_addr)
    session["challenge"] = challenge.id
    return f'<meta http-equiv="refresh" content="0;url=/finish">Type <output>{challenge.number}</output> into your app'


@app.get("/finish")
def finish():
    try:
        approved = mfa.wait(session.pop("challenge"), session.pop("binding"))
    except NotApproved as error:
        return f"Not signed in: {error.state}", 403
    session["user"] = approved.claims["name"]
    return f"Hello {session['user']}"
