"""Gauges that a Prometheus server scrapes. Listens on this machine alone unless told otherwise."""

from wellfed._sinks.scalars import CURVES, label, scalars
from wellfed.errors import MissingExtra, UsageError
from wellfed.records import LoaderStatus, Report

__all__ = ["LOOPBACK", "Prometheus"]

LOOPBACK = "127.0.0.1"


class Prometheus:
    """Serves metrics at http://ADDRESS:PORT/metrics. Implements `seams.Sink`."""

    def __init__(self, port: int, address: str = LOOPBACK) -> None:
        """Listen.

        Args:
            port: where; 0 for any that is free.
            address: at which of this machine's addresses.

        Raises:
            MissingExtra: the client is not installed.
            UsageError: the port is taken.
        """
        try:
            import prometheus_client as client
        except ImportError as error:
            raise MissingExtra(
                "exporting to Prometheus needs the package prometheus-client, which is not "
                "installed: pip install 'wellfed[prometheus]'"
            ) from error
        # Not the package's own registry: it is the user's.
        registry = client.CollectorRegistry()
        self._gauges = {
            name: client.Gauge(f"wellfed_{name}", _said(name), ["loader"], registry=registry)
            for name in CURVES
        }
        self._batches = client.Gauge(
            "wellfed_batches", "Batches delivered so far.", ["loader"], registry=registry
        )
        self._verdict = client.Info(
            "wellfed_verdict", "What bounds the loader, once the run is over.", registry=registry
        )
        try:
            self._server, self._thread = client.start_http_server(
                port, addr=address, registry=registry
            )
        except OSError as error:
            raise UsageError(
                f"cannot listen at {address}:{port}: {error.strerror}. Give another port."
            ) from error
        self.port: int = self._server.server_port
        """Where it listens."""

    def emit(self, seen: LoaderStatus | Report) -> None:
        """Show the newest values."""
        if isinstance(seen, Report):
            self._verdict.info({"name": seen.verdict.name, "headline": seen.verdict.headline})
            return
        for name, value in scalars(seen).items():
            self._gauges[name].labels(label(seen)).set(value)
        self._batches.labels(label(seen)).set(seen.batches)

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _said(name: str) -> str:
    return f"As LoaderStatus.{name} of wellfed, over the last two seconds."
