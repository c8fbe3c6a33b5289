"""The same statements and DAOs for asyncio: what waits, awaits."""
