"""The operator's command line: a client of the admin API, and what starts a whole network to try out."""
