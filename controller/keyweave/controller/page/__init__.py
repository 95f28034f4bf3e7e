"""The live page: the network in a browser, read only."""
