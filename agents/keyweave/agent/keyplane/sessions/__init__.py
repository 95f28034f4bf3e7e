"""Between two agents: connections, who the peer is, frames."""
