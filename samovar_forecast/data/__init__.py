"""From a frame to windows: checks, time axes, scaling, and what `fit` learns of its data."""
