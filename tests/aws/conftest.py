"""One endpoint for all tests, which answers every operation of the SDK's kafka model with what it understood."""
import json
import os
import stat
import subprocess
from pathlib import Path
from types import SimpleNamespace

import botocore.session
import pytest

ROOT = Path(__file__).resolve().parents[2]
KEY, SECRET = "AKIAWEIRTESTSABCDEFG", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
INACTIVE = "AKIAWEIRTESTSINACTIV"


def program():
    return Path(os.environ.get("AWS_SERVE", ROOT / "build/release/tests/aws/aws_serve"))


def pytest_sessionstart(session):
    if not session.config.option.collectonly and not program().exists():
        raise pytest.UsageError(f"{program()} is not there: ./dev build aws_serve")


@pytest.fixture(scope="session")
def model():
    return botocore.session.Session().get_service_model("kafka")


@pytest.fixture(scope="session")
def files(tmp_path_factory, model):
    folder = tmp_path_factory.mktemp("aws")
    keys = [{"accessKeyId": id, "secretAccessKey": SECRET, "status": status}
            for id, status in ((KEY, "Active"), (INACTIVE, "Inactive"))]
    credentials = folder / "credentials.json"
    credentials.write_text(json.dumps({"version": 1, "accessKeys": keys}))
    credentials.chmod(stat.S_IRUSR | stat.S_IWUSR)
    lines = []
    for name in model.operation_names:
        http = model.operation_model(name).http
        lines.append(f"{http['method']} {http['requestUri'].split('?')[0]} {name}\n")
    routes = folder / "routes"
    routes.write_text("".join(lines))
    return SimpleNamespace(folder=folder, credentials=credentials, routes=routes)


def serve(*arguments):
    process = subprocess.Popen([program(), *arguments], stdout=subprocess.PIPE, text=True)
    first = process.stdout.readline().split()
    if first[:1] != ["listening"]:
        process.wait()
        pytest.fail(f"aws_serve did not start: {first}")
    return process, int(first[1])


def end(process):
    process.terminate()
    assert process.wait(20) == 0


@pytest.fixture(scope="session")
def port(files):
    process, port = serve(files.credentials, files.routes)
    yield port
    end(process)


@pytest.fixture(scope="session")
def tls(files):
    """Port and certificate of an endpoint behind TLS."""
    key, certificate, both = (files.folder / name for name in ("key.pem", "certificate.pem", "both.pem"))
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate],
                   check=True, capture_output=True)
    both.write_text(certificate.read_text() + key.read_text())
    process, port = serve(files.credentials, files.routes, both)
    yield port, str(certificate)
    end(process)
