"""The asyncio face: the same statements and DAOs with coroutines."""
