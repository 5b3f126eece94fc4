"""The client of measures/echo.py, in a module that every worker can import."""

import asyncio
import json


def message(number: int) -> dict[str, object]:
    """What a line says: as JSON, some 1,300 bytes."""
    prices = [
        {"symbol": f"AB{place}", "bid": number + place / 4, "ask": number + 1, "final": False}
        for place in range(20)
    ]
    return {"id": number, "method": "quotes", "params": {"market": "XY", "prices": prices}}


async def converse(port: int, lines: int) -> int:
    """Opens a connection, sends so many lines and reads each back; how many came back right.

    A line is a message in JSON, which is made, and parsed, as by the client of a real service.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    right = 0
    for number in range(lines):
        said = message(number)
        writer.write(json.dumps(said).encode() + b"\n")
        right += json.loads(await reader.readline()) == said
    writer.close()
    await writer.wait_closed()
    return right


async def converse_many(port: int, lines: int, count: int) -> int:
    """`count` of them at once, on the running loop; how many lines came back right."""
    return sum(await asyncio.gather(*(converse(port, lines) for _ in range(count))))
