"""An emulated link: traces of its rate, a TCP proxy that keeps to them, and the same under IP."""
