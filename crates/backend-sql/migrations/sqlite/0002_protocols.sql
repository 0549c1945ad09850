-- How an integration speaks to the server, and what it registered for that, as JSON.
ALTER TABLE integrations ADD COLUMN protocol TEXT NOT NULL DEFAULT '{"kind":"api"}';

-- Who of a relying party's people is which user: the subject is unique and unchanging at the other side.
CREATE TABLE links (
    integration BLOB NOT NULL REFERENCES integrations (id),
    subject TEXT NOT NULL,
    user_id BLOB NOT NULL REFERENCES users (id),
    created INTEGER NOT NULL,
    PRIMARY KEY (integration, subject)
) STRICT, WITHOUT ROWID;
CREATE INDEX links_of_user ON links (user_id);

-- What a person tells a client so that it may ask them: a keyed hash.
CREATE TABLE user_codes (
    user_id BLOB PRIMARY KEY REFERENCES users (id),
    hash BLOB NOT NULL
) STRICT, WITHOUT ROWID;
