"""Tests of the face for asyncio."""
