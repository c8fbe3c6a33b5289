"""The main job on real input: many workers import topologies at once, change them, and export them again."""
