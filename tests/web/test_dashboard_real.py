"""The dashboard in a real browser: what a person sees, at a desk and on a phone, by day and by night.

Needs Debian's ``chromium``. Screenshots are left in ``artifacts/dashboard/`` to be looked at.
"""

from __future__ import annotations

import random
import shutil
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import async_playwright, expect

from activator.core.model import Applied, Notice, Outcome, Phase, Reason, Severity, Step, TargetRef
from activator.web.board import Board
from activator.web.dashboard import Dashboard
from tests.fakes.facts import ORDERS, START, batch_read, evaluation, lag, new_ids, stretch, wake

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, Page

    from activator.core.model import Evaluation

pytestmark = pytest.mark.real

SHOTS = Path(__file__).resolve().parents[2] / "artifacts" / "dashboard"
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


class World:
    """A dashboard, its board, and a clock that runs with the browser's."""

    def __init__(self, board: Board, port: int) -> None:
        self.board = board
        self.leads = True
        self.dashboard = Dashboard(
            ("127.0.0.1", port),
            board=board,
            now=self.now,
            leads=lambda: self.leads,
            trace_url="http://jaeger.example/trace/{trace_id}",
        )

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.dashboard.port}/"

    def now(self) -> datetime:
        """Return the present."""
        return datetime.now(UTC)  # noqa: TID251 - a page is looked at in real time

    def record(self, made: Evaluation, seconds_ago: float = 0) -> Evaluation:
        """Record a look as if it had been made that long ago."""
        shift = self.now() - timedelta(seconds=seconds_ago) - made.now
        lags = tuple(replace(one, read_at=one.read_at + shift if one.read_at else None) for one in made.seen.lags)
        pushed = made.seen.pushed
        applied = made.applied
        moved = replace(
            made,
            now=made.now + shift,
            decision=replace(made.decision, look_again_at=made.decision.look_again_at + shift),
            seen=replace(
                made.seen, lags=lags, pushed=replace(pushed, seen_at=pushed.seen_at + shift) if pushed else None
            ),
            applied=Applied(applied.started_at + shift, applied.ended_at + shift, applied.status) if applied else None,
        )
        self.board.record(moved)
        return moved


@asynccontextmanager
async def serving(board: Board, port: int = 0) -> AsyncIterator[World]:
    """Serve a board."""
    world = World(board, port)
    await world.dashboard.start()
    try:
        yield world
    finally:
        await world.dashboard.close()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Serve an empty board."""
    async with serving(Board()) as made:
        yield made


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Run Chromium without a window."""
    async with async_playwright() as playwright:
        made = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield made
        await made.close()


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """Open a desk-sized page that must not log any error."""
    made = await browser.new_page(viewport=DESK)  # type: ignore[arg-type]  # the type wants its own TypedDict
    errors: list[str] = []
    made.on("pageerror", lambda error: errors.append(str(error)))
    made.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    yield made
    await made.close()
    assert [error for error in errors if "ERR_CONNECTION_REFUSED" not in error and "ERR_INCOMPLETE" not in error] == []


async def shot(page: Page, name: str) -> None:
    """Leave a screenshot to be looked at."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=SHOTS / f"{name}.png", full_page=True)


def fleet(world: World, count: int) -> None:
    """Record a fleet as it is in an ordinary week."""
    dice = random.Random(7)  # noqa: S311 - the same fleet every time
    for number in range(count):
        ref = TargetRef(f"team-{number % 17:02}", "Deployment", f"worker-{number:04}")
        if dice.random() < 0.8:
            world.record(evaluation(ref=ref, text="no lag for 40 min"), dice.random() * 30)
        else:
            n = dice.randint(1, 8)
            text = f"{n} replicas are the HPA's business"
            look = evaluation(ref=ref, replicas=(n, n), reason=Reason.LEFT_TO_HPA, text=text, phase=Phase.AWAKE)
            busy = replace(look, seen=replace(look.seen, lags=(lag(dice.randint(0, 3000)),)))
            world.record(busy, dice.random() * 15)


def cycle(world: World) -> Evaluation:
    """Record one hour of a target: asleep, woken, scaled by the HPA, unreadable for a while, and asleep again."""
    for second in range(3000, 2400, -30):
        world.record(evaluation(text="no lag for 5 min"), second)
    steps = (
        Step("follow triggers", 1, Reason.RECORD_ARRIVED, "a record has arrived on pizza"),
        Step("bounds", 1, Reason.MIN_REPLICAS, "at least 1 replica"),
    )
    woken = wake()
    world.record(replace(woken, decision=replace(woken.decision, steps=steps)), 2400)
    for index, second in enumerate(range(2395, 900, -15)):
        replicas = min(5, 1 + index // 6)
        known = max(0, round(900 - abs(index - 30) * 30))
        look = evaluation(
            replicas=(replicas, replicas), reason=Reason.LEFT_TO_HPA, text="1..5 is the HPA's", phase=Phase.AWAKE
        )
        world.record(replace(look, seen=replace(look.seen, lags=(lag(known),))), second)
    broken = evaluation(
        replicas=(5, 5),
        reason=Reason.UNREADABLE,
        text="pizza cannot be read: 5 replicas are held",
        phase=Phase.AWAKE,
        lags=(lag(problems=("pizza/3: LEADER_NOT_AVAILABLE",)),),
    )
    for second in range(900, 700, -15):
        world.record(broken, second)
    cooling = evaluation(replicas=(5, 5), reason=Reason.COOLING_DOWN, text="no lag; sleeps in 300 s", phase=Phase.AWAKE)
    for second in range(700, 400, -15):
        world.record(cooling, second)
    world.record(
        evaluation(
            replicas=(5, 0),
            reason=Reason.QUIET,
            text="no lag for 300 s",
            outcome=Outcome.APPLIED,
            applied=Applied(START, START + timedelta(milliseconds=6), "ok"),
        ),
        400,
    )
    for second in range(395, 0, -30):
        world.record(evaluation(text="no lag for 5 min"), second)
    whole = new_ids()
    for phase in (stretch("ready", 2.1, whole=whole), stretch("first_commit", 3.4, whole=whole)):
        moved = world.now() - timedelta(seconds=2390)
        world.board.record(replace(phase, started_at=moved, ended_at=moved + (phase.ended_at - phase.started_at)))
    return woken


def trouble(world: World) -> None:
    """Record one of everything that can be wrong."""
    world.record(
        evaluation(
            ref=replace(ORDERS, name="billing"),
            replicas=(2, 2),
            phase=Phase.AWAKE,
            reason=Reason.UNREADABLE,
            text="invoices cannot be read",
            lags=(lag(problems=("invoices/3: LEADER_NOT_AVAILABLE",)),),
        ),
        240,
    )
    world.record(
        evaluation(
            ref=replace(ORDERS, name="mailer"),
            outcome=Outcome.REFUSED,
            reason=Reason.RIVAL,
            text="HorizontalPodAutoscaler mailer drives it already",
        )
    )
    world.record(
        wake(
            ref=replace(ORDERS, name="search"),
            outcome=Outcome.FAILED,
            phase=Phase.ASLEEP,
            applied=Applied(START, START + timedelta(seconds=5), "API server: no answer within 5 s"),
        )
    )
    world.record(
        evaluation(
            ref=TargetRef("bank", "StatefulSet", "ledger"),
            replicas=(1, 1),
            phase=Phase.WAKING,
            reason=Reason.NO_REPLICA_READY,
            text="woken 6 minutes ago and no replica is ready: 0/1 nodes are available",
        )
    )
    invalid = "wakegate.dev/lag-treshold is '5'; allowed: a known annotation; did you mean wakegate.dev/lag-threshold?"
    ref = replace(ORDERS, name="typo")
    world.board.record(Notice(ref, "uid", Severity.WARNING, "InvalidConfiguration", invalid, world.now()))
    problem = batch_read(unreadable=4, problem="kafka:9092: LEADER_NOT_AVAILABLE for invoices/3")
    now = world.now()
    world.board.record(replace(problem, started_at=now, ended_at=now))


async def test_a_fleet_without_trouble(world: World, page: Page) -> None:
    """The first line says that nothing is wrong; the table is in pages; every filter has a URL."""
    fleet(world, 250)
    await page.goto(world.url)
    await expect(page.locator("h1")).to_have_text("Nothing is wrong")
    await expect(page.locator("tbody tr")).to_have_count(100)
    await shot(page, "overview")
    await page.get_by_role("link", name="next").click()
    await expect(page).to_have_url(world.url + "#/?page=2")
    await expect(page.locator(".pager")).to_contain_text("page 2 of 3")
    await page.get_by_role("searchbox").fill("worker-0042")
    await expect(page.locator("tbody tr")).to_have_count(1)
    await page.reload()
    await expect(page.locator("tbody tr")).to_have_count(1)
    await page.get_by_role("searchbox").fill("")
    await page.get_by_role("link", name="Awake").click()
    await expect(page.locator("tbody .phase").first).to_have_text("Awake")


async def test_trouble_comes_first(world: World, page: Page) -> None:
    """Each thing that is wrong is listed above the table with its reason, and leads to its target."""
    fleet(world, 40)
    trouble(world)
    await page.goto(world.url)
    await expect(page.locator("h1")).to_contain_text("5 targets of 45 need a look")
    for words in (
        "LEADER_NOT_AVAILABLE",
        "drives it already",
        "no answer within 5 s",
        "no replica is ready",
        "lag-treshold",
    ):
        await expect(page.locator(".wrongs")).to_contain_text(words)
    await shot(page, "overview-wrong")
    await page.locator(".wrongs").get_by_role("link", name="bank/ledger").click()
    await expect(page).to_have_url(world.url + "#/target/bank/StatefulSet/ledger")
    await expect(page.locator(".verdict")).to_contain_text("not ready")


async def test_a_target_shows_its_hour_and_each_decision_opens_to_its_steps(world: World, page: Page) -> None:
    """Chart, decisions, steps in words, the trace's link; and the decision has a URL of its own."""
    woken = cycle(world)
    await page.goto(world.url + "#/target/shop/Deployment/orders")
    await expect(page.locator(".facts")).to_contain_text("Asleep")
    await expect(page.locator("svg a")).to_have_count(2)
    decision = page.locator("details", has_text="0 → 1")
    await decision.locator("summary").click()
    await expect(decision).to_contain_text("at least 1 replica")
    await expect(decision).to_contain_text("partition 3, offset 41")
    trace = decision.get_by_role("link", name=woken.ids.trace_id)
    await expect(trace).to_have_attribute("href", f"http://jaeger.example/trace/{woken.ids.trace_id}")
    await shot(page, "target")
    await expect(page).to_have_url(world.url + f"#/target/shop/Deployment/orders/{woken.ids.trace_id}")
    await page.reload()
    await expect(page.locator("details[open]")).to_contain_text("at least 1 replica")


async def test_a_wake_is_on_the_page_within_a_second(world: World, page: Page) -> None:
    """On the overview and on the target's own page, without a reload."""
    world.record(evaluation())
    await page.goto(world.url)
    await expect(page.locator("tbody .phase")).to_have_text("Asleep")
    world.record(wake())
    await expect(page.locator("tbody .phase")).to_have_text("Waking", timeout=1000)
    await page.goto(world.url + "#/target/shop/Deployment/orders")
    await expect(page.locator(".facts")).to_contain_text("Waking")
    world.record(evaluation(replicas=(1, 1), phase=Phase.AWAKE, reason=Reason.LEFT_TO_HPA, text="1..5 is the HPA's"))
    await expect(page.locator(".facts")).to_contain_text("Awake", timeout=1000)


async def test_a_server_that_is_gone_is_said_plainly_and_its_return_too(page: Page) -> None:
    """What is shown is marked as old; when the server is back the page goes on by itself."""
    board = Board()
    async with serving(board) as world:
        world.record(evaluation())
        port = world.dashboard.port
        await page.goto(world.url)
        await expect(page.locator("#live")).to_have_text("live")
    await expect(page.locator("#gone")).to_contain_text("wakegate does not answer since")
    await shot(page, "gone")
    async with serving(board, port):
        await expect(page.locator("#live")).to_have_text("live", timeout=15_000)
        await expect(page.locator("#gone")).to_be_hidden()
        await page.goto("about:blank")


async def test_a_follower_says_who_knows(world: World, page: Page) -> None:
    """A replica that does not lead has no decisions to show, and says so."""
    world.leads = False
    await page.goto(world.url)
    await expect(page.locator("#follows")).to_be_visible()
    await expect(page.locator("h1")).to_have_text("Nothing is managed yet")
    world.leads = True
    await expect(page.locator("#follows")).to_be_hidden(timeout=6000)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_phone_by_day_and_by_night(world: World, browser: Browser, scheme: Any) -> None:
    """Nothing is wider than the screen, and everything is there."""
    fleet(world, 30)
    trouble(world)
    cycle(world)
    page = await browser.new_page(viewport=PHONE, color_scheme=scheme)  # type: ignore[arg-type]  # its own TypedDict
    await page.goto(world.url)
    await expect(page.locator("tbody tr")).to_have_count(36)
    await shot(page, f"phone-overview-{scheme}")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await page.goto(world.url + "#/target/shop/Deployment/orders")
    await expect(page.locator("svg path").first).to_be_attached()
    await page.locator("details", has_text="0 → 1").locator("summary").click()
    await shot(page, f"phone-target-{scheme}")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await page.close()


async def test_the_keyboard_is_enough(world: World, page: Page) -> None:
    """Tab and Enter lead from the page to a target, to a decision, and open it."""
    cycle(world)
    await page.goto(world.url)
    await expect(page.locator("tbody tr")).to_have_count(1)
    for _ in range(30):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.textContent") == "shop/orders":
            break
    await page.keyboard.press("Enter")
    await expect(page.locator("details").first).to_be_visible()
    for _ in range(60):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.tagName") == "SUMMARY":
            break
    await page.keyboard.press("Enter")
    await expect(page.locator("details[open] .inside")).to_be_visible()


async def test_three_thousand_targets_paint_at_once(world: World, page: Page) -> None:
    """First contentful paint within 200 ms and all that was sent by then within 150 kB."""
    fleet(world, 3000)
    session = await page.context.new_cdp_session(page)
    await session.send("Network.enable")
    received: list[int] = []
    session.on("Network.dataReceived", lambda event: received.append(event["dataLength"]))
    paints = []
    for _ in range(4):  # the first one starts the browser's processes, too
        received.clear()
        await page.goto("about:blank")
        await page.goto(world.url)
        await expect(page.locator("tbody tr")).to_have_count(100)
        # The rows are there before the frame that shows them is: the browser notes its paint a little later.
        painted = await page.wait_for_function(
            "performance.getEntriesByName('first-contentful-paint')[0]?.startTime", polling=10
        )
        paints.append(await painted.json_value())
        assert sum(received) < 150_000
    print("first paints in ms:", *map(round, paints), "bytes:", sum(received))  # noqa: T201 - a measurement
    assert min(paints[1:]) < 200
