"""How one connection to a broker is made and how what goes wrong on it is told.

A leaf: the gateway imports it too, so it knows nothing of the rest of the house but errors and the vocabulary.
Deadlines, pools and retries stand in `client.py`.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiokafka.conn import AIOKafkaConnection, collect_hosts
from aiokafka.errors import (
    AuthenticationMethodNotSupported,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from activator.errors import DeniedError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from activator.core.model import Cluster
    from activator.kafka.oauth import ClientCredentialsToken

CONNECT_SECONDS = 3.0
"""For TCP, TLS, ApiVersions and SASL together: a black-holed broker must not hold a read for longer."""
IDLE_SECONDS = 300.0
"""Connections that carried nothing for so long are closed; brokers do so after ten minutes themselves."""
LONGEST_REQUEST_SECONDS = 60.0
"""aiokafka's own deadline on a request: a net under that of the caller, never the one that counts."""

_DENIED = (SaslAuthenticationFailed, AuthenticationMethodNotSupported)
_CERTIFICATE_PROBLEMS = {
    9: "it is not valid yet",
    10: "it has expired",
    18: "it is signed by itself and not among the authorities that are trusted (ca)",
    19: "none of the authorities that are trusted (ca) has signed it",
    20: "none of the authorities that are trusted (ca) has signed it",
    21: "none of the authorities that are trusted (ca) has signed it",
    62: "it is made out to another host name",
    64: "it is made out to another address",
}
"""What is wrong with a broker's certificate, by OpenSSL's code (X509_V_ERR_*)."""
NO_CERTIFICATE = "a connection without a client certificate"
_CERTIFICATE_ALERTS = ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED")
"""In the names of the TLS alerts by which a peer refuses a client certificate, or the lack of one."""


@dataclass(frozen=True, slots=True)
class SecurityOptions:
    """How to prove who we are to a cluster, in the words of Kafka's client configuration."""

    security_protocol: str = "PLAINTEXT"
    """PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."""
    ssl_context: ssl.SSLContext | None = None
    sasl_mechanism: str = "PLAIN"
    """PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER or GSSAPI."""
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    sasl_oauth_token_provider: ClientCredentialsToken | None = None
    sasl_kerberos_service_name: str = "kafka"
    sasl_kerberos_domain_name: str | None = None
    client_certificate: str = ""
    """In words, for messages: which one the context shows, and until when it is valid; empty: it shows none."""

    def client_arguments(self) -> dict[str, Any]:
        """Return the keyword arguments that every aiokafka client, producer and connection takes."""
        return {
            "security_protocol": self.security_protocol,
            "ssl_context": self.ssl_context,
            "sasl_mechanism": self.sasl_mechanism,
            "sasl_plain_username": self.sasl_username,
            "sasl_plain_password": self.sasl_password,
            "sasl_oauth_token_provider": self.sasl_oauth_token_provider,
            "sasl_kerberos_service_name": self.sasl_kerberos_service_name,
            "sasl_kerberos_domain_name": self.sasl_kerberos_domain_name,
        }


if TYPE_CHECKING:
    Credentials = Callable[[Cluster], SecurityOptions]
    """Looks up the security options of a cluster, at every request: where they are other ones than those that a
    connection was made with, it is made anew. Raises UnavailableError, DeniedError: they are not to be had."""


NOBODY = SecurityOptions()
"""Plain text, and no login."""


def no_credentials(_cluster: Cluster) -> SecurityOptions:
    """Contact every cluster in plain text and as nobody."""
    return NOBODY


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """Where a broker listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def bootstrap_addresses(cluster: Cluster) -> tuple[Address, ...]:
    """Parse ``host:port,host:port`` in the user's order. Raises UnavailableError where it cannot be parsed."""
    try:
        hosts = collect_hosts(cluster.bootstrap_servers, randomize=False)  # type: ignore[no-untyped-call]
    except ValueError as error:
        raise UnavailableError(f"Kafka {cluster.bootstrap_servers}", f"not a list of host:port: {error}") from error
    return tuple(Address(host, port) for host, port, _ in hosts)


class BrokerConnection:
    """One open TCP connection to a broker, with versions negotiated and authenticated."""

    def __init__(self, address: Address, connection: AIOKafkaConnection, fresh_until: float = math.inf) -> None:
        self.address = address
        self._connection: Any = connection  # aiokafka ships no types
        self._fresh_until = fresh_until
        self._under_way = 0
        self._retired = False

    def version_of(self, api_key: int, spoken: tuple[int, ...]) -> int | None:
        """Pick the highest version of a request that both sides speak; None: there is none."""
        lowest, highest = self._connection._versions.get(api_key, (1, 0))  # noqa: SLF001 - it has no getter
        return max((version for version in spoken if lowest <= version <= highest), default=None)

    async def send(self, frame: Any, *, seconds: float) -> Any:
        """Send one request and return what its frame decodes. Raises UnavailableError, and is closed by it."""
        self._under_way += 1
        try:
            with translated(f"Kafka {self.address}", f"did not answer {frame} within {seconds:g} s"):
                async with asyncio.timeout(seconds):
                    return await self._connection.send(frame)
        except UnavailableError:
            self._connection.close()  # answers come in order: behind a late one every other would be late too
            raise
        finally:
            self._under_way -= 1
            if self._retired and not self._under_way:
                self._connection.close()

    def is_open(self) -> bool:
        """Tell whether neither side has closed it, as far as is known."""
        return bool(self._connection.connected())

    def is_fresh(self) -> bool:
        """Tell whether what it was authenticated with is good for a while yet."""
        return asyncio.get_running_loop().time() < self._fresh_until

    def retire(self) -> None:
        """Close it as soon as what is under way on it has been answered."""
        self._retired = True
        if not self._under_way:
            self._connection.close()

    def close(self) -> asyncio.Future[None] | None:
        """Close it, and return what is done once the socket is closed; None: it never was open."""
        closed: asyncio.Future[None] | None = self._connection.close()
        return closed


async def open_connection(address: Address, security: SecurityOptions, *, client_id: str) -> BrokerConnection:
    """Connect, negotiate versions and authenticate within `CONNECT_SECONDS`.

    Raises:
        UnavailableError: nobody answered, or not in Kafka's protocol; or the token endpoint did not.
        DeniedError: the broker, or the token endpoint, refused the credentials.
    """
    connection: Any = AIOKafkaConnection(  # type: ignore[no-untyped-call]
        address.host,
        address.port,
        client_id=client_id,
        request_timeout_ms=int(LONGEST_REQUEST_SECONDS * 1000),
        max_idle_ms=int(IDLE_SECONDS * 1000),
        **security.client_arguments(),
    )
    where = f"Kafka {address}"
    if security.sasl_oauth_token_provider is not None:
        await security.sasl_oauth_token_provider.token()  # by a deadline of its own, and in its own words
    certificate = security.client_certificate or NO_CERTIFICATE
    with translated(where, f"did not answer within {CONNECT_SECONDS:g} s of connecting", certificate=certificate):
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await connection.connect()
        except UnsupportedSaslMechanismError as error:
            raise DeniedError(f"{where}: the listener has no SASL mechanism {security.sasl_mechanism}") from error
        except BaseException:
            connection.close()
            raise
    tokens = security.sasl_oauth_token_provider
    return BrokerConnection(address, connection, math.inf if tokens is None else tokens.fresh_until())


@contextmanager
def translated(
    where: str, late: str = "did not answer in time", *, certificate: str = "our client certificate"
) -> Iterator[None]:
    """Turn what aiokafka, asyncio and the operating system raise into the house's errors, once.

    Args:
        where: the place, as `UnavailableError` wants it.
        late: what to say of a deadline that has passed.
        certificate: what the peer refused where it refused who we are in TLS.
    """
    try:
        yield
    except TimeoutError as error:
        raise UnavailableError(where, late) from error
    except _DENIED as error:
        raise DeniedError(f"{where}: refused the credentials: {error}") from error
    except KafkaConnectionError as error:
        if isinstance(error.__cause__, ssl.SSLError):
            raise _tls_problem(where, error.__cause__, certificate) from error
        raise UnavailableError(where, _why_closed(error)) from error
    except KafkaError as error:
        raise UnavailableError(where, str(error)) from error
    except ssl.SSLError as error:
        raise _tls_problem(where, error, certificate) from error
    except OSError as error:
        raise UnavailableError(where, error.strerror or str(error)) from error
    except (ValueError, OverflowError) as error:
        # A host that is no name (an empty label), a port that is none, or whoever answers does not know SCRAM's secret:
        # of one broker of many, so it must look like any other that is away.
        raise UnavailableError(where, f"cannot be talked to: {error}") from error
    except (KeyError, AssertionError, AttributeError) as error:
        # aiokafka's connection indexes its own tables unguarded and asserts where a close has raced with a send.
        raise UnavailableError(where, f"the connection was closed while in use ({error!r})") from error


def _tls_problem(where: str, error: ssl.SSLError, certificate: str) -> UnavailableError | DeniedError:
    """Say which side refused what."""
    if isinstance(error, ssl.SSLCertVerificationError):
        why = _CERTIFICATE_PROBLEMS.get(error.verify_code, error.verify_message)
        return UnavailableError(where, f"certificate verify failed: {why}")
    reason = error.reason or ""
    if "ALERT" in reason and any(part in reason for part in _CERTIFICATE_ALERTS):
        alert = reason.partition("ALERT_")[2].lower().replace("_", " ")
        # Java's brokers say "certificate unknown" of one that has expired and of one by another authority alike.
        return DeniedError(f"{where}: refused {certificate} (TLS alert: {alert})")
    if reason == "WRONG_VERSION_NUMBER":
        return UnavailableError(where, "the listener does not speak TLS")
    return UnavailableError(where, f"TLS: {reason.lower().replace('_', ' ') or error}")


def _why_closed(error: BaseException) -> str:
    cause = error.__cause__
    if isinstance(cause, EOFError):
        return "closed the connection"
    if isinstance(cause, OSError):
        return f"closed the connection: {cause.strerror or cause}"
    return "closed the connection" if cause is None else f"closed the connection: {cause!r}"
