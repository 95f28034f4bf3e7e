"""How an agent reaches its devices; `base` is what the author of a plug-in reads."""
