"""A real cluster whose tasks run in Node."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.harness import Cluster, cluster_in, wait_for
from tests.support.tree import ROOT

NODE = ROOT / "examples" / "node-worker"
TASKS = Path(__file__).with_name("node_tasks.js")


class NodeCluster:
    """A cluster and what starts workers in Node for it.

    Args:
        cluster: the cluster, with its coordinator started.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *options: str) -> "subprocess.Popen[bytes]":
        """Starts a worker for the queue "node" and waits until it is live."""
        command = ["node", str(NODE / "worker.js"), "--name", name, "--tasks", str(TASKS), *options]
        with (self.cluster.folder / f"{name}.log").open("ab") as log:
            environment = self.cluster.environment()
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=self.cluster.folder)
        self.processes[name] = process
        wait_for(f"{name} to be live", lambda: self.cluster.state_of(name) == "live" or process.poll() is not None)
        assert process.poll() is None, self.cluster.logs()
        return process

    def stop(self) -> None:
        """Kills all of them."""
        for process in self.processes.values():
            process.kill()
            process.wait(30)


def made(folder: Path, *options: str) -> Iterator[NodeCluster]:
    """Gives a cluster in a folder, with a coordinator and one worker in Node."""
    with cluster_in(folder) as cluster:
        cluster.start_coordinator(*options)
        nodes = NodeCluster(cluster)
        try:
            nodes.start("n1")
            yield nodes
        finally:
            nodes.stop()
