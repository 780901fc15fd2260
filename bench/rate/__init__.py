"""What the rate-accuracy benchmark is made of."""
