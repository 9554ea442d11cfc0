"""Who is let into the dashboard, and as whom; what every answer bears; what no other site can have done."""

import asyncio
import json

import pytest
from tests.client.dashboard.browser import Browser
from tests.client.dashboard.conftest import Open, World

from grpcflow.credentials import Credentials
from grpcflow.dashboard.headers import POLICY
from grpcflow.dashboard.sessions import Attempts
from grpcflow.dashboard.settings import Settings, listen_of, networks_of
from grpcflow.errors import ImproperlyConfigured

ALL = frozenset({"inspect", "control", "submit"})
LOOKS = frozenset({"inspect"})
COOKIE = "grpcflow-8551"


# --- without tokens ----------------------------------------------------------------------------------------


async def test_nobody_has_to_log_in_on_loopback_where_the_coordinator_asks_for_no_token(opened: Open) -> None:
    browser = opened()
    page = await browser.get("/")
    assert (page.status, "<main" in page.text) == (200, True)
    me = (await browser.get("/api/me")).json()
    assert (me["kind"], me["may"]) == ("open", ["admin", "control", "inspect", "submit"])


@pytest.mark.parametrize("host", ["evil.example:8551", "127.0.0.1.evil.example", "[2001:db8::1]:8551", ""])
async def test_a_site_that_has_its_own_name_lead_here_is_not_let_in_without_a_login(opened: Open, host: str) -> None:
    browser = opened()
    await browser.get("/")
    browser.host = host
    assert (await browser.get("/")).status == 403, "a name that was pointed here"
    assert (await browser.get("/api/me")).status == 401, "with the cookie, too"


async def test_a_dashboard_for_other_machines_never_lets_in_without_a_login(opened: Open) -> None:
    browser = opened("0.0.0.0")
    answer = await browser.get("/queues")
    assert (answer.status, answer.header("location")) == (303, "/login?next=%2Fqueues")
    refused = await browser.log_in("anything")
    assert refused.status == 403, "the coordinator would take any token, as it looks at none"
    assert "asks for no token" in refused.json()["error"]


@pytest.mark.parametrize(
    ("host", "status"),
    [("10.1.2.3:8551", 200), ("[2001:db8::1]:8551", 200), ("localhost", 200), ("evil.example:8551", 403), ("", 403)],
)
async def test_one_that_is_insecure_lets_in_whoever_types_a_number(opened: Open, host: str, status: int) -> None:
    browser = opened("0.0.0.0", insecure=True)
    browser.peer, browser.host = "10.9.9.9", host
    assert (await browser.get("/")).status == status


async def test_one_that_is_insecure_asks_for_tokens_where_the_coordinator_does(opened: Open, world: World) -> None:
    world.tokens = {"secret-token": ALL}
    browser = opened("0.0.0.0", insecure=True)
    browser.host = "10.1.2.3:8551"
    assert (await browser.get("/")).header("location") == "/login?next=%2F"


async def test_while_the_coordinator_is_away_nobody_is_let_in_and_told_why(opened: Open, world: World) -> None:
    world.away = True
    browser = opened()
    assert (await browser.get("/")).status == 303
    answer = await browser.log_in("t")
    assert (answer.status, "no coordinator answers" in answer.json()["error"]) == (503, True)


async def test_a_login_that_is_not_needed_leads_back_to_our_own_pages_only(opened: Open) -> None:
    for said, where in (("/queues", "/queues"), ("//evil.example", "/"), ("/%5Cevil", "/"), ("https://evil", "/")):
        answer = await opened().get(f"/login?next={said}")
        assert (answer.status, answer.header("location")) == (303, where)


# --- with tokens -------------------------------------------------------------------------------------------


async def test_a_token_is_checked_by_the_coordinator_and_never_comes_back(opened: Open, world: World) -> None:
    world.tokens = {"secret-token": ALL}
    browser = opened()
    assert (await browser.get("/workers")).header("location") == "/login?next=%2Fworkers"
    assert "form" in (await browser.get("/login")).text
    wrong = await browser.log_in("wrong")
    assert (wrong.status, browser.cookies) == (401, {})
    right = await browser.log_in("secret-token")
    [cookie] = [value for name, value in right.headers if name == "set-cookie"]
    assert (right.status, "HttpOnly" in cookie, "samesite=strict" in cookie.lower()) == (200, True, True)
    answers = [await browser.get(path) for path in ("/", "/api/me", "/api/history")]
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert not any(b"secret-token" in answer.body or "secret-token" in str(answer.headers) for answer in answers)
    assert "secret-token" not in str(browser.cookies)
    assert world.opened[1].closed.is_set(), "the wrong token's connection was closed"


async def test_a_token_that_may_not_look_is_not_let_in(opened: Open, world: World) -> None:
    world.tokens = {"submitter": frozenset({"submit"})}
    answer = await opened().log_in("submitter")
    assert (answer.status, "inspect" in answer.json()["error"]) == (401, True)


async def test_who_logs_out_is_out_and_the_token_is_forgotten(opened: Open, world: World) -> None:
    world.tokens = {"t": ALL}
    browser = opened()
    await browser.log_in("t")
    await browser.enter()
    connection = world.opened[-1]
    kept = dict(browser.cookies)
    assert (await browser.ask("POST", "/logout", headers={"x-csrf-token": browser.csrf})).status == 200
    browser.cookies = kept
    assert (await browser.get("/api/me")).status == 401
    assert connection.closed.is_set()


async def test_a_token_that_is_revoked_ends_its_sessions(opened: Open, world: World) -> None:
    world.tokens = {"t": ALL}
    browser = opened()
    await browser.log_in("t")
    await browser.enter()
    world.tokens = {"another": ALL}
    answer = await browser.act("pause-queue", {"queue": "q"})
    assert answer.status == 401
    # Which of them says so depends on whether it has looked at the cluster since.
    assert answer.json()["code"] in ("TOKEN_WRONG", "NO_SESSION")
    assert world.done == []


async def test_a_session_ends_once_the_dashboard_has_seen_that_its_token_is_not_taken(
    opened: Open, world: World
) -> None:
    world.tokens = {"t": ALL}
    browser = opened()
    await browser.log_in("t")
    await browser.enter()
    [session] = browser.entrance.sessions._kept.values()
    world.tokens = {"another": ALL}
    async with asyncio.timeout(20):
        with session.link.heard() as rung:
            while not session.link.is_refused:
                session.link.wake()
                await rung.wait()
                rung.clear()
    assert (await browser.get("/api/me")).status == 401
    assert (await browser.get("/")).header("location") == "/login?next=%2F"


async def test_failed_logins_of_one_address_are_counted_and_not_those_of_others(opened: Open, world: World) -> None:
    world.tokens = {"t": ALL}
    browser = opened()
    assert [(await browser.log_in(f"wrong{n}")).status for n in range(11)] == [401] * 10 + [503]
    assert (await browser.log_in("t")).status == 503, "be it right: else trying would go on"
    assert (await Browser(browser.app, peer="10.1.1.1").log_in("t")).status == 200


def test_failed_logins_are_forgotten_after_a_minute() -> None:
    now = [0.0]
    attempts = Attempts(lambda: now[0])
    for _ in range(10):
        attempts.failed("a")
    assert (attempts.may_try("a"), attempts.may_try("b")) == (False, True)
    now[0] = 60.0
    assert attempts.may_try("a")


# --- behind a proxy ----------------------------------------------------------------------------------------


async def test_a_proxy_says_who_has_logged_in_and_the_role_is_that_of_the_options(opened: Open) -> None:
    browser = opened("0.0.0.0", proxy_header="X-Forwarded-User")
    browser.headers["X-Forwarded-User"] = "ann"
    me = await browser.enter()
    assert (me["name"], me["kind"], me["may"]) == ("ann", "proxy", ["inspect"])
    assert (await browser.act("pause-queue", {"queue": "q"})).status == 403
    acts = opened("0.0.0.0", proxy_header="X-Forwarded-User", proxy_role="control")
    acts.headers["X-Forwarded-User"] = "bob"
    assert (await acts.enter())["may"] == ["control", "inspect", "submit"]


async def test_what_the_dashboards_own_token_may_not_nobody_may_behind_a_proxy(opened: Open, world: World) -> None:
    world.tokens = {"own": LOOKS}
    browser = opened(proxy_header="X-User", proxy_role="control", credentials=Credentials(token="own"))
    browser.headers["X-User"] = "ann"
    assert (await browser.enter())["may"] == ["inspect"]


async def test_the_header_is_believed_from_proxies_only_and_only_once(opened: Open) -> None:
    browser = opened("0.0.0.0", proxy_header="X-User", proxies=networks_of(("10.1.0.0/16",)))
    browser.headers["X-User"] = "ann"
    for peer in ("127.0.0.1", "10.2.0.1", "", "no-number"):
        browser.peer = peer
        assert (await browser.get("/")).status == 403, peer
    for peer in ("10.1.2.3", "::ffff:10.1.2.3"):
        browser.peer = peer
        assert (await browser.get("/")).status == 200, peer
    browser.peer = "10.9.9.9"
    assert (await browser.get("/api/me")).status == 401, "the cookie alone is not enough"


async def test_a_session_of_one_person_is_not_another_ones(opened: Open) -> None:
    browser = opened(proxy_header="X-User")
    browser.headers["X-User"] = "ann"
    await browser.enter()
    browser.headers["X-User"] = "bob"
    assert (await browser.get("/api/me")).status == 401
    assert (await browser.enter())["name"] == "bob"
    del browser.headers["X-User"]
    assert (await browser.get("/")).status == 403
    assert (await browser.log_in("t")).status == 403, "people log in at the proxy"


# --- what every answer bears -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/login", "/nowhere", "/api/me", "/health", "/static/js/main.js", "/static/nothing", "/api/live/none"]
)
async def test_every_answer_bears_the_policy(opened: Open, path: str) -> None:
    answer = await opened().get(path)
    assert answer.header("content-security-policy") == POLICY
    assert answer.header("x-content-type-options") == "nosniff"
    assert answer.header("x-frame-options") == "DENY"
    assert answer.header("referrer-policy") == "no-referrer"


def test_the_policy_lets_nothing_inline_and_nothing_from_elsewhere_run() -> None:
    parts = dict(part.strip().split(" ", 1) for part in POLICY.split(";"))
    assert parts["default-src"] == parts["script-src"] == parts["style-src"] == parts["connect-src"] == "'self'"
    assert parts["frame-ancestors"] == parts["base-uri"] == parts["object-src"] == "'none'"
    assert "unsafe" not in POLICY


async def test_nothing_outside_of_the_folder_of_files_can_be_had(opened: Open) -> None:
    browser = opened()
    for path in ("/static/../server.py", "/static/%2e%2e/server.py", "/static//etc/passwd", "/static/"):
        assert (await browser.get(path)).status in (404, 405), path


# --- what no other site can have done ----------------------------------------------------------------------


async def test_an_action_needs_what_only_our_own_page_knows(opened: Open, world: World) -> None:
    browser = opened()
    await browser.enter()
    refused = [
        await browser.act("pause-queue", {"queue": "q"}, x_csrf_token=""),
        await browser.act("pause-queue", {"queue": "q"}, x_csrf_token="wrong"),
        await browser.act("pause-queue", {"queue": "q"}, x_csrf_token="\u00e9"),
        await browser.act("pause-queue", {"queue": "q"}, origin="https://evil.example"),
        await browser.act("pause-queue", {"queue": "q"}, origin="null"),
        await browser.act("pause-queue", {"queue": "q"}, sec_fetch_site="cross-site"),
        await browser.act("pause-queue", {"queue": "q"}, sec_fetch_site="same-site"),
    ]
    assert [(answer.status, answer.json()["code"]) for answer in refused] == [(403, "CSRF")] * len(refused)
    assert world.done == []
    assert (await browser.act("pause-queue", {"queue": "q"}, origin="http://127.0.0.1:8551")).status == 200
    assert (await browser.get("/api/actions/pause-queue")).status == 405


async def test_another_site_cannot_log_somebody_in(opened: Open, world: World) -> None:
    world.tokens = {"t": ALL}
    browser = opened()
    assert (await browser.log_in("t", origin="https://evil.example")).status == 403
    assert (await browser.log_in("t", sec_fetch_site="cross-site")).status == 403


async def test_the_secret_of_one_session_is_of_no_use_in_another(opened: Open, world: World) -> None:
    world.tokens = {"t": ALL, "u": ALL}
    one = opened()
    other = Browser(one.app)
    await one.log_in("t")
    await other.log_in("u")
    stolen = (await one.enter())["csrf"]
    assert (await other.act("pause-queue", {"queue": "q"}, x_csrf_token=stolen)).status == 403


async def test_what_is_too_long_is_not_read(opened: Open) -> None:
    browser = opened()
    await browser.enter()
    body = json.dumps({"queue": "q" * 70_000}).encode()
    headers = {"x-csrf-token": browser.csrf}
    assert (await browser.ask("POST", "/api/actions/pause-queue", body, headers)).status == 413
    assert (await browser.log_in("t" * 70_000)).status == 413


# --- options -----------------------------------------------------------------------------------------------


def test_addresses_networks_and_roles_that_are_none_are_refused_with_a_cure() -> None:
    for wrong in ("8551", "127.0.0.1", "127.0.0.1:", ":80", "h:99999", "h:x"):
        with pytest.raises(ImproperlyConfigured, match="HOST:PORT"):
            listen_of(wrong)
    assert listen_of("[::1]:80") == ("::1", 80)
    with pytest.raises(ImproperlyConfigured, match=r"10\.1\.0\.0/16"):
        networks_of(("here",))
    with pytest.raises(ImproperlyConfigured, match="--key"):
        Settings("h", 1, ("a:1",), tls_cert="c")
    with pytest.raises(ImproperlyConfigured, match="inspect or control"):
        Settings("h", 1, ("a:1",), proxy_role="admin")
