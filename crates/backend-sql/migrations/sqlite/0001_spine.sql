-- Ids, hashes and sealed values are BLOB, times are milliseconds since the epoch, 0/1 is a truth value: all of
-- it has a counterpart in PostgreSQL (BYTEA, BIGINT). `made` is the order in which rows were made.

CREATE TABLE tenants (
    made INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    created INTEGER NOT NULL
) STRICT;

CREATE TABLE integrations (
    made INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    tenant BLOB NOT NULL REFERENCES tenants (id),
    name TEXT NOT NULL,
    purposes TEXT NOT NULL,
    methods INTEGER NOT NULL,
    scopes TEXT NOT NULL,
    verifies_first_factor INTEGER NOT NULL,
    reveal_users INTEGER NOT NULL,
    created INTEGER NOT NULL,
    UNIQUE (tenant, name)
) STRICT;

CREATE TABLE api_keys (
    made INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    integration BLOB NOT NULL REFERENCES integrations (id),
    hint TEXT NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER,
    revoked INTEGER
) STRICT;
CREATE INDEX api_keys_of_integration ON api_keys (integration);

-- asked: for what somebody still needs a second person: 1 a reset, 2 break-glass.
CREATE TABLE users (
    made INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    tenant BLOB NOT NULL REFERENCES tenants (id),
    name TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    reset_at INTEGER,
    created INTEGER NOT NULL,
    break_glass INTEGER NOT NULL,
    asked_at INTEGER,
    asked_by TEXT,
    asked_for INTEGER,
    UNIQUE (tenant, name)
) STRICT;
CREATE INDEX users_in_order ON users (tenant, made);
-- a typed enrolment code comes with a name and no tenant
CREATE INDEX users_by_name ON users (name);

-- What doesn't count yet has a wait_by: who made it. Without a wait_until it waits until somebody agrees.
-- noticed: the last notice that the device has had.
CREATE TABLE devices (
    made INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    tenant BLOB NOT NULL REFERENCES tenants (id),
    user_id BLOB NOT NULL REFERENCES users (id),
    name TEXT NOT NULL,
    algorithm INTEGER NOT NULL,
    public BLOB NOT NULL,
    created INTEGER NOT NULL,
    revoked INTEGER,
    wait_until INTEGER,
    wait_by TEXT,
    noticed INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX devices_of_user ON devices (user_id);

-- What a user's devices are told; each device has had those up to its `noticed`. A text may name a device: it is
-- erased with its user. No foreign key: names that nobody has are written too, so that they cost the same.
CREATE TABLE notices (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id BLOB NOT NULL,
    kind INTEGER NOT NULL,
    at INTEGER NOT NULL,
    text TEXT NOT NULL
) STRICT;
CREATE INDEX notices_of_user ON notices (user_id, id);

-- waits: 1 for the one that will take the other's place.
CREATE TABLE totp (
    user_id BLOB NOT NULL REFERENCES users (id),
    waits INTEGER NOT NULL,
    id BLOB NOT NULL UNIQUE,
    secret BLOB NOT NULL,
    last_step INTEGER NOT NULL,
    locked INTEGER NOT NULL,
    created INTEGER NOT NULL,
    wait_until INTEGER,
    wait_by TEXT,
    PRIMARY KEY (user_id, waits)
) STRICT;

CREATE TABLE recovery_codes (
    user_id BLOB NOT NULL REFERENCES users (id),
    id BLOB NOT NULL,
    factor BLOB NOT NULL,
    salt BLOB NOT NULL,
    hash BLOB NOT NULL,
    used INTEGER NOT NULL,
    wait_until INTEGER,
    wait_by TEXT,
    PRIMARY KEY (user_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE killed_cookies (
    user_id BLOB NOT NULL REFERENCES users (id),
    cookie BLOB NOT NULL,
    PRIMARY KEY (user_id, cookie)
) STRICT, WITHOUT ROWID;

-- first: made for a user without any factor. state: 0 open, 1 claimed, 2 used, 3 cancelled. The claim is there while it is claimed.
CREATE TABLE tickets (
    made INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    tenant BLOB NOT NULL REFERENCES tenants (id),
    user_id BLOB NOT NULL REFERENCES users (id),
    secret_hash BLOB NOT NULL UNIQUE,
    code_hash BLOB NOT NULL,
    confirm INTEGER NOT NULL,
    first INTEGER NOT NULL,
    made_by TEXT NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    code_tries INTEGER NOT NULL,
    state INTEGER NOT NULL,
    claim_algorithm INTEGER,
    claim_key BLOB,
    claim_name TEXT,
    claim_number BLOB
) STRICT;
CREATE INDEX tickets_pending ON tickets (user_id) WHERE state < 2;

-- record: what has no column of its own, in an envelope that names its version. decision: 0 pending, else its
-- code. proof_kind: 0 none, 1 push, 2 TOTP, 3 recovery code, 4 push and TOTP,
-- 5 push and recovery code; the proof_id of the last two is the device's id and then the factor's. The sealed number is
-- gone once it is decided.
CREATE TABLE challenges (
    id BLOB PRIMARY KEY NOT NULL,
    tenant BLOB NOT NULL,
    integration BLOB NOT NULL,
    user_id BLOB NOT NULL,
    session BLOB NOT NULL,
    expires INTEGER NOT NULL,
    record BLOB NOT NULL,
    number BLOB,
    opened BLOB NOT NULL,
    decision INTEGER NOT NULL DEFAULT 0,
    decided BLOB,
    decided_at INTEGER,
    proof_kind INTEGER NOT NULL DEFAULT 0,
    proof_id BLOB,
    redeemed_at INTEGER,
    lapsed_at INTEGER,
    wrong_sessions INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX challenges_pending ON challenges (expires) WHERE decision = 0;

CREATE TABLE hot (
    tenant BLOB NOT NULL,
    user_id BLOB NOT NULL,
    version INTEGER NOT NULL,
    cell BLOB NOT NULL,
    live BLOB NOT NULL,
    op_id BLOB NOT NULL,
    PRIMARY KEY (tenant, user_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempts (
    counter BLOB PRIMARY KEY NOT NULL,
    failures INTEGER NOT NULL,
    not_before INTEGER NOT NULL,
    day INTEGER NOT NULL,
    month INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- either a challenge or a status
CREATE TABLE replays (
    integration BLOB NOT NULL,
    idempotency BLOB NOT NULL,
    request BLOB NOT NULL,
    challenge BLOB,
    status INTEGER,
    body TEXT,
    at INTEGER NOT NULL,
    PRIMARY KEY (integration, idempotency)
) STRICT, WITHOUT ROWID;
CREATE INDEX replays_by_age ON replays (at);

-- public: exact JSON, under the chain. private and salt: NULL once erased; the commitment stays.
CREATE TABLE audit (
    tenant BLOB NOT NULL,
    lane INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    public BLOB NOT NULL,
    private BLOB,
    salt BLOB,
    commitment BLOB NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (tenant, lane, seq)
) STRICT, WITHOUT ROWID;

-- heads: 48 bytes each (lane, seq, hash), by lane
CREATE TABLE checkpoints (
    tenant BLOB NOT NULL,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    previous BLOB NOT NULL,
    heads BLOB NOT NULL,
    signature BLOB NOT NULL,
    PRIMARY KEY (tenant, number)
) STRICT, WITHOUT ROWID;

-- Private keys and other secrets, each sealed under the master key with its kind and number as AAD.
CREATE TABLE secrets (
    kind INTEGER NOT NULL,
    number INTEGER NOT NULL,
    created INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    public BLOB,
    not_before INTEGER,
    not_after INTEGER,
    signature BLOB,
    PRIMARY KEY (kind, number)
) STRICT, WITHOUT ROWID;
