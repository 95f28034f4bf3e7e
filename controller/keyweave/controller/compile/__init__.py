"""Step 5: what is planned and asked for, as one policy per node."""
