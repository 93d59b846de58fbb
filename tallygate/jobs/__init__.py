"""Jobs: what runs, how it is launched, and how it ends."""
