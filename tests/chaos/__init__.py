"""Storms of faults over real servers, the histories of what callers were told, and the checks that judge them."""
