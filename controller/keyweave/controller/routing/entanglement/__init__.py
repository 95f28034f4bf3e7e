"""Routing of entangled pairs: which channels to use for whom, and how to mend what did not come about."""
