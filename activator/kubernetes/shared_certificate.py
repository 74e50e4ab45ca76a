"""The metrics API's certificate, shared by all replicas through a Secret, and its CAs on the APIService.

Every replica reads the Secret and shows what is in it. The leader renews it and puts the CAs on the APIService, in the
order of `core.rotation`. The Secret is part of the installation and empty at first, so that a permission for this one
name is enough. Empty it again, and everything is made anew at once.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from typing import TYPE_CHECKING, Protocol

from activator.core.rotation import Action, Seen, plan
from activator.errors import ConflictError, NotFoundError, UnavailableError, WakegateError
from activator.kubernetes import certificate_secret, paths
from activator.kubernetes.api_service import PATH as API_SERVICE_PATH
from activator.kubernetes.api_service import service_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime, timedelta

    from activator.core.rotation import Certificate, Issued, RotationTimes, Term
    from activator.kubernetes.certificate_secret import Contents, Generation
    from activator.kubernetes.client import Document, KubernetesClient

FIRST_LOOK_SECONDS = 1.0
"""How often it is looked for while there is none: no replica is ready before."""
RETRY_SECONDS = 2.0
_SHORTEST_PAUSE_SECONDS = 0.05

_log = logging.getLogger(__name__)


class Issuer(Protocol):
    """Makes certificates, and reads them."""

    def issue(self, names: Sequence[str], now: datetime, lifetime: timedelta) -> Issued:
        """Make a CA and a certificate that it signs."""

    def read(self, pem: str) -> tuple[Certificate, ...]:
        """Return the certificates in a PEM text. Raises ValueError."""


class SharedCertificate:
    """Keeps the Secret, the APIService and what is shown in step.

    Args:
        client: the API server.
        service: namespace and name of the Service in front of the metrics API; the Secret lies in its namespace.
        secret: the Secret's name.
        names: what the certificate is for.
        leads: whether this replica is the one that renews.
        now: the clock that certificates are valid by.
        times: how long they hold.
        issuer: makes and reads them.
        show: told chain and key of what is to be shown, at each look.
    """

    def __init__(
        self,
        client: KubernetesClient,
        service: tuple[str, str],
        secret: str,
        *,
        names: Sequence[str],
        leads: Callable[[], bool],
        now: Callable[[], datetime],
        times: RotationTimes,
        issuer: Issuer,
        show: Callable[[str, str], None],
    ) -> None:
        self._client = client
        self._service = service
        self._where = f"Secret {service[0]}/{secret}"
        self._path = paths.member("v1", "secrets", service[0], secret)
        self._names = tuple(names)
        self._leads, self._now, self._times, self._issuer, self._show = leads, now, times, issuer, show
        self._shown: Term | None = None
        self._published: tuple[str, datetime] | None = None
        self._trouble: str | None = None

    def problems(self) -> Sequence[str]:
        """Say why the API server could not verify us just now, for /readyz; empty: it could."""
        if self._shown is None:
            reason = self._trouble or "the replica that leads has not made it yet"
            return (f"the certificate of the metrics API is not in {self._where}: {reason}",)
        if self._shown.until <= self._now():
            return (f"the certificate of the metrics API in {self._where} expired at {self._shown.until:%FT%TZ}",)
        return ()

    async def run(self) -> None:
        """Look, act and look again until cancelled; what was read last stays shown while nothing can be read."""
        while True:
            pause = RETRY_SECONDS
            try:
                pause = await self._turn()
                self._tell(None)
            except ConflictError:  # somebody else wrote: look at once what he made of it
                pause = 0.0
            except WakegateError as error:
                self._tell(error)
            await asyncio.sleep(max(pause, _SHORTEST_PAUSE_SECONDS))

    async def _turn(self) -> float:
        """Look once, do the one next thing, and return the seconds until the next look."""
        document = await self._client.get(self._path)
        contents = certificate_secret.parse(document, frozenset(self._names), self._issuer.read)
        if contents.shown is not None:
            self._shown = contents.shown.term
            self._show(contents.shown.issued.chain, contents.shown.issued.key)
        if not self._leads():
            self._published = None
            return self._times.look.total_seconds() if self._shown is not None else FIRST_LOOK_SECONDS
        seen = Seen(
            shown=contents.shown.term if contents.shown else None,
            staged=contents.staged.term if contents.staged else None,
            retired=tuple(authority.term for authority in contents.retired),
            published_since=await self._published_since(contents.bundle) if contents.shown else None,
        )
        now = self._now()
        decided = plan(seen, self._times, now)
        await self._do(decided.action, document, contents, now)
        return (decided.look_again_at - self._now()).total_seconds()

    async def _do(self, action: Action, document: Document, contents: Contents, now: datetime) -> None:
        match action:
            case Action.ISSUE:
                made = self._generation(now)
                await self._write(document, contents.issued(made, now), f"made, until {made.term.until:%FT%TZ}")
            case Action.STAGE:
                made = self._generation(now)
                await self._write(document, contents.with_next(made), "the next one is made, and shown before long")
            case Action.SHOW:
                await self._write(document, contents.turned(), "the next one is shown")
            case Action.PRUNE:
                await self._write(document, contents.pruned(now), "CAs that have expired are trusted no more")
            case Action.PUBLISH:
                await self._publish(contents.bundle)
            case Action.WAIT:
                pass

    def _generation(self, now: datetime) -> Generation:
        issued = self._issuer.issue(self._names, now, self._times.lifetime)
        made = certificate_secret.generation_of(issued, frozenset(self._names), self._issuer.read)
        if made is None:  # the issuer reads what it has written
            raise UnavailableError("certificate of the metrics API", f"made for other names than {self._names}")
        return made

    async def _write(self, document: Document, contents: Contents, what: str) -> None:
        """Replace what was read, by its resourceVersion: of two that believe they lead, one writes."""
        await self._client.replace(self._path, {**document, "data": contents.data()})
        _log.info("certificate of the metrics API in %s: %s", self._where, what)

    async def _published_since(self, bundle: str) -> datetime | None:
        """Return since when the API server surely has this bundle; None: it has another.

        Where the APIService is another's, or not there, nobody has to be told: that counts as published.
        """
        api_service = await self._api_service()
        if api_service is not None:
            spec = api_service["spec"]
            if spec.get("insecureSkipTLSVerify") or spec.get("caBundle") != _encoded(bundle):
                self._published = None
                return None
        if self._published is None or self._published[0] != bundle:
            self._published = bundle, self._now()
        return self._published[1]

    async def _publish(self, bundle: str) -> None:
        """Put the bundle on the APIService, unless that has changed since it was read: it may be another's by now."""
        api_service = await self._api_service()
        if api_service is None:
            return
        version = api_service["metadata"]["resourceVersion"]
        spec = {"caBundle": _encoded(bundle), "insecureSkipTLSVerify": False}
        await self._client.merge_patch(API_SERVICE_PATH, {"metadata": {"resourceVersion": version}, "spec": spec})
        _log.info("APIService of external metrics: CA bundle of %d bytes", len(bundle))

    async def _api_service(self) -> Document | None:
        """Return the APIService where it leads to us."""
        try:
            document = await self._client.get(API_SERVICE_PATH)
        except NotFoundError:
            return None
        return document if service_of(document) == self._service else None

    def _tell(self, error: WakegateError | None) -> None:
        """Say trouble once, and its end."""
        trouble = str(error) if error is not None else None
        if trouble is not None and self._trouble is None:
            _log.warning("certificate of the metrics API: %s; what is shown stays, trying again", trouble)
        elif trouble is None and self._trouble is not None:
            _log.info("certificate of the metrics API: %s can be read and written again", self._where)
        self._trouble = trouble


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
