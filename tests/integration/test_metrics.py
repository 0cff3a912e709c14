"""The Prometheus endpoint: what an operator wants to know, in the form that Prometheus reads."""
import re
import urllib.error
import urllib.request

import pytest
from support.clients import create_topic, produce, read
from support.wait import wait_for

pytestmark = pytest.mark.weir
LINE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\.)*"(?:,[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\.)*")*\})? '
                  r"([-+]?(?:[0-9.eE+-]+|Inf|NaN))$")


def scrape(server):
    with urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics", timeout=10) as answer:
        assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/plain")
        text = answer.read().decode()
    series, kinds = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in kinds, f"{name} is declared twice"
            kinds[name] = kind
        elif line and not line.startswith("#"):
            match = LINE.match(line)
            assert match, line
            key = match[1] + (match[2] or "")
            assert key not in series, f"{key} is there twice"
            series[key] = float(match[3])
            family = re.sub(r"_(bucket|sum|count)$", "", match[1])
            assert match[1] in kinds or kinds.get(family) == "histogram", f"{match[1]} has no TYPE"
    return series


def total(series, name, *labels):
    return sum(value for key, value in series.items() if re.match(rf"{name}(?:{{|$)", key) and all(label in key for label in labels))


def test_traffic_is_counted(server, name):
    create_topic(server, name)
    before = scrape(server)
    produce(server, name, [b"x" * 1000] * 500)
    read(server, name, 500)
    label = f'topic="{name}"'

    def grown():
        now = scrape(server)
        return total(now, "weir_topic_messages_in_total", label) == 500 and total(now, "weir_topic_bytes_out_total", label) > 500_000 and now

    after = wait_for(grown, "messages and bytes are counted")
    assert 500_000 < total(after, "weir_topic_bytes_in_total", label) < 700_000
    for api in ("Produce", "Fetch", "ApiVersions", "Metadata"):
        assert total(after, "weir_requests_total", f'api="{api}"') > total(before, "weir_requests_total", f'api="{api}"'), api
    assert total(after, "weir_log_size_bytes", label) > 500_000


def test_latency_histograms(server, name):
    create_topic(server, name)
    produce(server, name, [b"x"])
    series = scrape(server)
    buckets = [(key, value) for key, value in series.items() if re.match(r"weir_request\w*_seconds_bucket{", key) and 'api="Produce"' in key]
    assert len(buckets) > 5 and any('le="+Inf"' in key for key, _ in buckets)
    counts = [value for _, value in buckets]
    assert counts == sorted(counts) and counts[-1] >= 1


def test_connections_and_queues(server):
    before = total(scrape(server), "weir_connections")
    with server.connection(), server.connection():
        wait_for(lambda: total(scrape(server), "weir_connections") >= before + 2, "connections are counted")
    names = {re.split(r"[{ ]", key)[0] for key in scrape(server)}
    assert any("shard" in n or "loop" in n for n in names) and any("pool" in n for n in names), sorted(names)


def test_other_pages(server):
    with pytest.raises(urllib.error.HTTPError) as missing:
        urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/nothing", timeout=10)
    assert missing.value.code == 404


def test_topics_that_are_gone_are_no_longer_shown(server, name):
    from support.clients import admin, done
    create_topic(server, name)
    produce(server, name, [b"x"])
    wait_for(lambda: f'topic="{name}"' in "".join(scrape(server)), "it shows")
    done(admin(server).delete_topics([name]))
    wait_for(lambda: f'topic="{name}"' not in "".join(scrape(server)), "it goes", 60)
