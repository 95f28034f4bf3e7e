"""The agent's face to applications: the REST API of ETSI GS QKD 014 v1.1.1."""
