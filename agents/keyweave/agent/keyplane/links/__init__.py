"""One end of a link: blocks of its device, pools shared with the other end, what is held under suspicion."""
