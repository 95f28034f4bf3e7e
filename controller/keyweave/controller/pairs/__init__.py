"""Entangled pairs: what is known of links and memories, who is served how, and what that means in rules."""
