-- How long a user's hosted sign-ins wait; the default where it is NULL.
ALTER TABLE users ADD COLUMN ttl_s INTEGER;
