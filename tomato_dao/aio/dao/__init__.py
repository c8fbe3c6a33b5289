"""The DAOs for asyncio, generated from tomato_dao/dao. Their queries return awaitables."""
