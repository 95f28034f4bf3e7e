"""Speed, as ratios: each part of Keyweave beside the least that its transport or an exact method needs."""
