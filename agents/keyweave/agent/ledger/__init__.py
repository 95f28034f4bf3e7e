"""The agent's append-only ledger: what became of every key at this end."""
