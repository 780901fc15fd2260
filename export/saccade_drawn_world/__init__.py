"""The drawn road crossing: its pictures, questions and clips, its tiny model, and its training."""
