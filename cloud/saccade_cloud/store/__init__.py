"""What the cloud keeps beyond its own life: packets, their sessions, and what was observed."""
