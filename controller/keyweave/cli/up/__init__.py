"""`keyweave up`: a whole network of a scenario as processes of this machine."""
