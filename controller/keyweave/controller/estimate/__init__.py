"""Step 2: samples of both ends of a link become one estimate with a condition."""
