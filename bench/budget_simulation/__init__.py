"""What the simulation of budget policies is made of."""
