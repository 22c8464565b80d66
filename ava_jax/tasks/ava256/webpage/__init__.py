"""A segment of an avatar as one HTML file: baked, packed and drawn in the browser."""
