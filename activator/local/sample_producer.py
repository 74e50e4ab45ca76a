"""Sends orders to the topic of the demo: ``python -m activator.local.sample_producer --count 500``."""

from __future__ import annotations

import argparse
import asyncio
import sys

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

PIZZAS = ("margherita", "marinara", "funghi", "napoli", "diavola", "capricciosa", "quattro formaggi")


async def send(bootstrap_servers: str, topic: str, count: int) -> None:
    """Send so many orders, spread over all partitions, and wait until all are acknowledged."""
    async with AIOKafkaProducer(  # type: ignore[no-untyped-call]
        bootstrap_servers=bootstrap_servers, enable_idempotence=True
    ) as producer:
        partitions = sorted(await producer.partitions_for(topic))
        sent = [await producer.send(topic, order(number), partition=partitions[number % len(partitions)])
                for number in range(count)]  # fmt: skip
        await asyncio.gather(*sent)


def order(number: int) -> bytes:
    """Return the value of one order."""
    return PIZZAS[number % len(PIZZAS)].encode()


def main() -> None:
    """Send what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--bootstrap-servers", default="127.0.0.1:9092", help="where Kafka is (%(default)s)")
    parser.add_argument("--topic", default="pizzaOrders", help="(%(default)s)")
    parser.add_argument("--count", type=int, default=100, help="how many records (%(default)s)")
    arguments = parser.parse_args()
    try:
        asyncio.run(send(arguments.bootstrap_servers, arguments.topic, arguments.count))
    except KafkaError as error:
        sys.exit(f"{arguments.bootstrap_servers}: {type(error).__name__}: {error}")
    print(f"{arguments.count} records sent to {arguments.topic}")  # noqa: T201 - a command-line tool answers


if __name__ == "__main__":
    main()
