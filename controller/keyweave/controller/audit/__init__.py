"""The audit log: who changed what, which policies went out, and what protected keys when. Hash-chained."""
