"""The controller: one straight path from a sample that comes in to a policy that goes out."""
