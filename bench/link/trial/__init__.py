"""One edge and one cloud, real processes, over an emulated link: what becomes of every frame."""
