"""A chain through Python and Node: examples/node-worker/run.

Starts a coordinator, a worker in Python and one in Node, submits a canvas from Python and a chain from Node, of which
each crosses between the languages, and compares what came with what must come. Exits 0 where both are right.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from node_chain.app import app
from node_chain.tasks import in_languages

from grpcflow import group
from local_cluster import ClusterError, LocalCluster, played

HERE = Path(__file__).parent
PATIENCE = 60.0
NPM_SECONDS = 300.0

#: Where "ä" and "ö" stand in the alphabet, and how thousands are written, is for each language to say.
LOCALES = ("en", "sv", "de")
TEXT = " ".join(["Zebra"] * 1234 + ["Ärger"] * 3 + ["Apfel"] * 2 + ["Öl"] + ["Oase"] * 4)

WANTED = """\
English         svenska         Deutsch
apfel       2   apfel       2   apfel       2
ärger       3   oase        4   ärger       3
oase        4   zebra   1\u00a0234   oase        4
öl          1   ärger       3   öl          1
zebra   1,234   öl          1   zebra   1.234"""
WANTED_OF_NODE = """\
apfel       2
oase        4
zebra   1\u00a0234
ärger       3
öl          1"""


def main() -> int:
    """Installs what Node needs, plays the example and returns the exit code."""
    try:
        node = installed()
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 69
    return played("node-worker", lambda cluster: both_ways(cluster, node), app="node_chain")


def installed() -> str:
    """Makes sure that Node and its packages are here, and returns the command."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise ClusterError("this example needs node (18.19 or newer) and npm; for example: apt-get install nodejs npm")
    if not (HERE / "node_modules" / ".package-lock.json").exists():
        print("installing the packages of package-lock.json ...", flush=True)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=NPM_SECONDS)
        if done.returncode:
            raise ClusterError(f"npm failed:\n{done.stdout}{done.stderr}")
    return node


def both_ways(cluster: LocalCluster, node: str) -> bool:
    """Submits from Python and from Node; returns whether both got what they should."""
    cluster.environment["PYTHONPATH"] = f"{HERE}{os.pathsep}{cluster.environment['PYTHONPATH']}"
    cluster.staff(app, "python")
    cluster.start("node", [node, str(HERE / "worker.js"), "--name", "node"])
    cluster.wait_until_online(app, ["python", "node"])
    print(f"a coordinator on {cluster.address}, a worker in Python and one in Node are up")
    languages = group(app.signature("intl.language", (locale,)) for locale in LOCALES)
    titles = dict(zip(LOCALES, languages.delay().get(timeout=PATIENCE), strict=True))
    print("\nA canvas from Python: counted in Python, arranged in Node for three languages, laid out in Python")
    table = in_languages(TEXT, titles).delay().get(timeout=PATIENCE)
    print(table)
    print("\nA chain from Node, over the same three tasks, in Swedish")
    by_node = from_node(cluster, node)
    print(by_node)
    return table == WANTED and by_node == WANTED_OF_NODE


def from_node(cluster: LocalCluster, node: str) -> str:
    """Runs the client in Node and returns what it printed."""
    text = cluster.folder / "text"
    text.write_text(TEXT, encoding="utf-8")
    command = [node, str(HERE / "client.js"), str(text), "sv"]
    done = subprocess.run(command, env=cluster.environment, capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode:
        raise ClusterError(f"the client in Node failed:\n{done.stderr}\n{cluster.last_lines('node')}")
    return done.stdout.rstrip("\n")


if __name__ == "__main__":
    sys.exit(main())
