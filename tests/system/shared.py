"""What the clients' tests have and these use too: processes, waiting, Kafka's tools. And where things are."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))

from support.server import WEIR, Process, raise_descriptor_limit  # noqa: E402
from support.tools import JAVA, PEERS, ROOT, kafka, run  # noqa: E402
from support.wait import wait_for  # noqa: E402
from support.wire import Connection  # noqa: E402

BUILD = ROOT / "build/system"

__all__ = ["BUILD", "Connection", "JAVA", "PEERS", "Process", "ROOT", "WEIR", "kafka", "raise_descriptor_limit", "run", "wait_for"]
