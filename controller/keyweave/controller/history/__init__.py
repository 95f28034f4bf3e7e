"""What the network did, in figures over time: watched, added up, kept for a year. Holds no key material."""
