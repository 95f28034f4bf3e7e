"""What the controller's page says of devices, limits and lags, and when certificates end."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from prometheus_client import CollectorRegistry, generate_latest

from keyweave.cli.state_dir import Endpoints, scrape_targets
from keyweave.common.certificate_expiry import CertificateExpiry
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.names import LinkName, NodeName
from keyweave.common.pki import Authority
from keyweave.common.quantities import MAX_DETECTORS
from keyweave.common.tls import TlsFiles
from keyweave.controller.described_metrics import DescribedMetrics
from keyweave.controller.device_metrics import DeviceMetrics
from keyweave.controller.intent import link_of
from keyweave.controller.stimuli import LinkObserved, LinkPut
from keyweave.v1 import types_pb2
from tests.unit.core_run import START, Run
from tests.unit.measurements import samples

LINK, NODE = LinkName("a-p"), NodeName("a")


def page(run: Run, now: float | None = None) -> str:
    registry = CollectorRegistry()
    registry.register(DescribedMetrics(run.core))
    registry.register(DeviceMetrics(run.core, lambda: run.now if now is None else now))
    return generate_latest(registry).decode()


def observe(run: Run, detector: str, dark_counts: float) -> None:
    measured = samples(NODE, start=run.now, dark_counts=dark_counts)
    named = tuple(replace(each, detector=detector) for each in measured.detectors)
    run.handle(LinkObserved(replace(measured, link=LINK, detectors=named)))


def series(text: str, name: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(name)]


def test_detectors_show_until_their_end_is_silent() -> None:
    run = Run()
    observe(run, "d1", 400.0)
    line = 'keyweave_detector_dark_count_rate_hz{detector="d1",link="a-p",node="a"} 400.0'
    assert line in page(run).splitlines()
    assert series(page(run, now=START + 60), "keyweave_detector_") == []


def test_an_end_cannot_make_more_series_than_it_may_have_detectors() -> None:
    run = Run()
    for number in range(MAX_DETECTORS + 5):
        observe(run, f"d{number}", 400.0)
    assert len(series(page(run), "keyweave_detector_dark_count_rate_hz")) == MAX_DETECTORS


def test_limits_show_where_an_operator_has_set_them_zero_included() -> None:
    run = Run()
    assert "keyweave_link_detector_bias_min_volts{" not in page(run)
    spec = types_pb2.Link(
        name="a-p",
        a_node="a",
        b_node="p",
        technology=types_pb2.LINK_TECHNOLOGY_DV_QKD,
        max_detector_temperature_celsius=-45.0,
        min_detector_bias_volts=0.0,
    )
    run.handle(LinkPut(link_of(spec)))
    shown = page(run)
    assert 'keyweave_link_detector_temperature_max_celsius{link="a-p"} -45.0' in shown
    assert 'keyweave_link_detector_bias_min_volts{link="a-p"} 0.0' in shown
    assert "keyweave_link_detector_bias_max_volts{" not in shown
    assert 'keyweave_link_end{link="a-p",node="p"} 1.0' in shown


def test_an_agent_lags_from_when_something_else_is_desired_until_it_has_that() -> None:
    run = Run(answering=False)
    run.connect()
    run.measure(3, {})
    began = run.core.reports.agent(NODE).behind_since
    assert START <= began <= run.now
    run.answering = True
    run.connect()
    run.measure(1, {})
    assert run.core.reports.agent(NODE).behind_since == 0


def test_what_prometheus_is_led_to_has_the_job_and_the_node_of_each_page() -> None:
    endpoints = Endpoints("h:1", "http://h:2/metrics", {"a": "http://h:3/metrics"})
    assert scrape_targets(endpoints) == [
        {"targets": ["h:2"], "labels": {"job": "keyweave-controller"}},
        {"targets": ["h:3"], "labels": {"job": "keyweave-agent", "node": "a"}},
    ]


def test_a_certificates_end_is_that_of_the_file_now_and_outlasts_a_file_that_cannot_be_read(
    tmp_path: Path,
) -> None:
    authority = Authority.create(Plane.CONTROL)
    files = TlsFiles(
        certificate=tmp_path / "c.pem", private_key=tmp_path / "k.pem", trust_anchor=tmp_path / "ca.pem"
    )

    def issue(days: int) -> float:
        credential = authority.issue(Identity(Plane.CONTROL, Role.AGENT, "a"), valid_for=timedelta(days=days))
        credential.write(files.certificate, files.private_key)
        end = x509.load_pem_x509_certificate(credential.certificate).not_valid_after_utc
        return end.timestamp()

    expiry = CertificateExpiry(files)
    assert expiry.not_after() == 0
    first = issue(30)
    assert expiry.not_after() == first
    renewed = issue(90)
    assert expiry.not_after() == renewed
    files.certificate.write_text("-----BEGIN CERTIFICATE-----")
    assert expiry.not_after() == renewed
