"""`grpcflow dashboard`: reads options, sees to it that what serves is installed, and serves.

starlette and uvicorn are imported when all of that is sure.
"""

import importlib.util

import click

from grpcflow.cli.invocation import Misconfigured, invocation, reach_options

__all__ = ["dashboard"]


@click.command("dashboard")
@click.option(
    "--listen", metavar="HOST:PORT", default="127.0.0.1:8551", show_default=True, help="Where browsers reach it."
)
@click.option("--certificate", metavar="FILE", default="", help="Certificate shown to browsers, as PEM; turns TLS on.")
@click.option("--key", metavar="FILE", default="", help="The key of that certificate.")
@click.option(
    "--proxy-header", metavar="NAME", default="", help="Header in which a proxy says who has logged in there."
)
@click.option(
    "--proxy-role",
    type=click.Choice(["inspect", "control"]),
    default="inspect",
    show_default=True,
    help="What they may do.",
)
@click.option(
    "--proxy", metavar="NETWORK", multiple=True, help="Where that header is believed from. Default: this machine."
)
@click.option(
    "--insecure", is_flag=True, help="Let everybody in who can reach it, where the coordinator asks for no token."
)
@reach_options
def dashboard(
    listen: str,
    certificate: str,
    key: str,
    proxy_header: str,
    proxy_role: str,
    proxy: tuple[str, ...],
    insecure: bool,
) -> None:
    """Show the cluster in a browser: queues, workers, graphs, what failed, live.

    People log in with a token of the coordinator. Where it asks for none, and only this machine can reach the
    dashboard, or --insecure is said, nobody has to.
    """
    _check_installed()
    from grpcflow.dashboard.serving import serve
    from grpcflow.dashboard.settings import Settings, listen_of, networks_of

    connection = invocation().connection
    host, port = listen_of(listen)
    settings = Settings(
        host=host,
        port=port,
        addresses=connection.addresses,
        credentials=connection.credentials,
        proxy_header=proxy_header,
        proxy_role=proxy_role,
        proxies=networks_of(proxy),
        tls_cert=certificate,
        tls_key=key,
        insecure=insecure,
    )
    if not (settings.is_near or certificate or proxy_header or insecure):
        click.echo(
            "Tokens would travel in the clear: give --certificate and --key, or put a proxy before it.", err=True
        )
    serve(settings, lambda address: click.echo(f"Dashboard: {address}", err=True))


def _check_installed() -> None:
    """Say what is missing.

    Raises:
        Misconfigured: starlette or uvicorn is not installed.
    """
    missing = [name for name in ("starlette", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise Misconfigured(
            f"grpcflow dashboard serves with {' and '.join(missing)}, which is not installed: "
            "pip install 'grpcflow[dashboard]'. Without it: grpcflow top, grpcflow inspect."
        )
