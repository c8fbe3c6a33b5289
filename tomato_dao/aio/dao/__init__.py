"""The DAOs for asyncio, made from tomato_dao/dao; their queries return what has to be awaited."""
