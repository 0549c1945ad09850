"""privacyIDEA as a peer: its server, its phone, its ceremony."""
