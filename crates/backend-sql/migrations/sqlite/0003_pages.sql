-- How long a user's challenges on hosted pages live; the default where it is NULL.
ALTER TABLE users ADD COLUMN ttl_s INTEGER;
