"""Programs that people use with Kafka: kcat, and the scripts of Apache Kafka in several versions."""
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PEERS = ROOT / "tests/peers"
# The oldest clients that the protocol of 1.1 to 4.3 covers, the last ones of ZooKeeper mode, and today's.
VERSIONS = ["1.1.1", "2.2.1", "3.9.1", "4.3.1"]


class Failed(AssertionError):
    def __init__(self, command, result):
        self.stdout, self.stderr, self.code = result.stdout, result.stderr, result.returncode
        super().__init__(f"{' '.join(map(str, command))}: exit {result.returncode}\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}")


def run(*command, input=None, timeout=90, env=None, check=True):
    command = [str(part) for part in command]
    try:
        result = subprocess.run(command, input=input, capture_output=True, text=True, timeout=timeout,
                                env={**os.environ, **(env or {})})
    except subprocess.TimeoutExpired as late:
        raise AssertionError(f"{' '.join(command)}: not done in {timeout} s\n{(late.stdout or b'')[-2000:]}\n"
                             f"{(late.stderr or b'')[-2000:]}") from None
    if check and result.returncode != 0:
        raise Failed(command, result)
    return result


# Small heaps and the quick compiler only: these are short runs.
JAVA = {"KAFKA_JVM_PERFORMANCE_OPTS": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto", "KAFKA_HEAP_OPTS": "-Xmx256m",
        "KAFKA_LOG_LEVEL": "ERROR"}


def kafka(version, name, *arguments, **how):
    """Runs kafka-NAME (or a class) of that version of Apache Kafka; gives its standard output."""
    return run(PEERS / "kafka-run", version, name, *arguments, env=JAVA, **how).stdout


def kcat(bootstrap, *arguments, **how):
    return run("kcat", "-b", bootstrap, *arguments, **how).stdout


def server_option(version, name, bootstrap):
    """The option that names the broker: the console producer called it --broker-list until 2.5."""
    old = tuple(int(part) for part in version.split(".")[:2]) < (2, 5)
    return ["--broker-list" if old and name == "kafka-console-producer" else "--bootstrap-server", bootstrap]
