"""The deciding part: pure functions and frozen values.

No asyncio, clock, environment, randomness, socket, logging or third-party client belongs here: time comes in as
`now` (aware UTC) and the next moment to look goes out.
"""
