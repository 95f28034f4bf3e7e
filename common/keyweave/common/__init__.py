"""What controller, agent and emulator really share: identities and TLS, errors, logging, units."""
