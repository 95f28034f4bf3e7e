"""The operators' face: AdminService, and what it asks of the core, the store and the agents."""
