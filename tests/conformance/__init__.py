"""The answers of the real old backend, on a dump that it wrote, held against those of the DAOs on what was loaded from it."""
