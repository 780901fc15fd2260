"""The drawn road crossing: its pictures, questions and clips, its tiny model, and its training."""

import saccade_export  # noqa: F401 - what libraries report is off before they are loaded
