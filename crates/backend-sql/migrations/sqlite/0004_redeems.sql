-- A redeem is its audit row: that there is one for a challenge is what makes it happen once. Those of before are in
-- challenges.redeemed_at.
ALTER TABLE audit ADD COLUMN redeems BLOB;
CREATE UNIQUE INDEX audit_redeems ON audit (redeems) WHERE redeems IS NOT NULL;
