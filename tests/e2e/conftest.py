"""What every end-to-end test gets: a cluster of its own, cleaned up whatever happens."""

import os
import shutil

import pytest

import harness
import netcluster
import nets


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == "call":
        item.passed = report.passed


def finish(cluster, orderly):
    if not orderly:
        for node in cluster.nodes.values():
            print(f"---- output of {node.name}\n{node.log()}")
        if os.environ.get("PROCHUB_E2E_KEEP"):
            shutil.copytree(cluster.dir, os.environ["PROCHUB_E2E_KEEP"], dirs_exist_ok=True,
                            ignore=shutil.ignore_patterns("*.sock", "fifo*"))
    cluster.close(orderly)


@pytest.fixture
def cluster(request):
    """Ends in an orderly way after a test that passed, by force after one that failed."""
    made = harness.Cluster()
    yield made
    finish(made, orderly=getattr(request.node, "passed", False))


@pytest.fixture
def solo(cluster):
    """solo(children, ...) starts one node without a cluster."""
    def start(children=None, **more):
        return cluster.node("a", children, alone=True, **more).start()
    return start


class Keeper:
    """The cluster that the tests of one module share, until one of them fails."""

    cluster = None


@pytest.fixture(scope="module")
def keeper():
    kept = Keeper()
    yield kept
    if kept.cluster:
        kept.cluster.close(orderly=True)


@pytest.fixture
def pair(request, keeper):
    """Nodes a and b with the CHILDREN(cluster) of the module, and its CLUSTER options; anew after a
    failure."""
    if not keeper.cluster:
        keeper.cluster = harness.Cluster()
        keeper.cluster.start("a", "b", children=request.module.CHILDREN(keeper.cluster),
                             cluster=getattr(request.module, "CLUSTER", {}))
    yield keeper.cluster
    if not getattr(request.node, "passed", False):
        made, keeper.cluster = keeper.cluster, None
        finish(made, orderly=False)


@pytest.fixture
def net(request, keeper):
    """Nodes on hosts of their own: the module's HOSTS, with its CHILDREN(cluster), CLUSTER options
    and clients(cluster); anew after a failure."""
    if nets.lacking():
        pytest.skip(nets.lacking())
    if not keeper.cluster:
        keeper.cluster = make_net(request.module)
    keeper.cluster.verified = 0
    yield keeper.cluster
    passed = getattr(request.node, "passed", False)
    assert not passed or keeper.cluster.verified, "this test has not checked what happened"
    if not passed:
        made, keeper.cluster = keeper.cluster, None
        finish(made, orderly=False)


def make_net(module):
    made = netcluster.NetCluster(len(module.HOSTS))
    try:
        made.start(*module.HOSTS, children=module.CHILDREN(made),
                   cluster=getattr(module, "CLUSTER", {}))
        module.clients(made)
        made.recover()
    except BaseException:
        finish(made, orderly=False)
        raise
    return made
