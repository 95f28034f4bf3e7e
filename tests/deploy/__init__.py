"""Charts, units and images: what is deployed is what the code accepts."""
