"""Says of which receipts the client takes which."""

import os

from countersign import Countersign, CountersignError, new_session

url, key, integration, session, receipt = (
    os.environ[name]
    for name in ("COUNTERSIGN_URL", "COUNTERSIGN_KEY", "COUNTERSIGN_INTEGRATION", "SESSION", "RECEIPT")
)
mfa = Countersign(url, key, integration)
forged = receipt.rsplit(".", 1)[0] + "." + "A" * 86
cases = {
    "own": (mfa, receipt, session),
    "session": (mfa, receipt, new_session()),
    "integration": (Countersign(url, key, "int_other"), receipt, session),
    "server": (Countersign(url, key, integration, public_url="https://mfa.example.com"), receipt, session),
    "forged": (mfa, forged, session),
}
said = []
for name, (client, token, of) in cases.items():
    try:
        client.verify(token, of)
        said.append(f"{name} ok")
    except CountersignError as error:
        said.append(f"{name} refused" if error.code == "receipt_invalid" else f"{name}: {error}")
print(", ".join(said))
