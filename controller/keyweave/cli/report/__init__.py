"""`keyweave report`: what a network did, against what was agreed, in one document."""
