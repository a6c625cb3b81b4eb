#!/usr/bin/python3
"""prochub in a minute: three daemons on one machine, twelve counters, a client for each.

    demo.py --build build/release

Starts the daemons one after the other, moves a child, drains a node and lets it have children
again, while the clients increment; shows it live on a terminal, and ends with measured totals.
Exit status: 0; 1 where an update was lost or applied twice, a lookup named a dead worker, a step
failed or something was left behind; 130 after Ctrl-C. Everything lives in one directory in /tmp
and on 127.0.0.11 to 127.0.0.13, and is gone at the end, however that comes.
"""

import argparse
import signal
import sys
import time

sys.dont_write_bytecode = True

from cluster import CHILDREN, Cluster, Failed, NODES  # noqa: E402
from view import View  # noqa: E402
from watch import Watch  # noqa: E402

ALL_S = 48.0  # for the steps together; then there is still time to stop and to clean up
TURN_S = 0.02
MOVED = "c-counter/3"
LOG_LINES = 15


class Demo:
    def __init__(self, build, hold_s):
        self.hold_s, self.end = hold_s, time.monotonic() + ALL_S
        self.view = View()
        self.cluster = Cluster(build)
        self.watch = Watch(self.cluster, CHILDREN, self.view.migration)

    # ---- waiting, with everything going on meanwhile

    def turn(self):
        self.watch.turn()
        self.view.draw(self.watch)

    def wait(self, what, within_s, condition):
        """Until condition() is true; `what` says in a failure what did not happen."""
        end = min(time.monotonic() + within_s, self.end)
        while not condition():
            if time.monotonic() > end:
                raise Failed(f"within {within_s:g} s not so: {what}")
            self.turn()
            time.sleep(TURN_S)

    def hold(self):
        """So that one can look."""
        end = time.monotonic() + self.hold_s
        while time.monotonic() < end:
            self.turn()
            time.sleep(TURN_S)

    def order(self, *words, within_s):
        tool = self.cluster.tool(*words)
        try:
            self.wait(f"'prochubctl {' '.join(words)}' ends", within_s,
                      lambda: tool.poll() is not None)
        finally:
            if tool.poll() is None:
                tool.kill()
            said = tool.communicate()[0]
        if tool.returncode:
            raise Failed(f"prochubctl {' '.join(words)}: status {tool.returncode}: {said.strip()}")

    def step_done(self, text):
        self.hold()
        self.view.step_done(text)

    # ---- the story

    def start_first(self):
        self.view.step("node a starts alone")
        self.cluster.start("a")
        self.watch.start_clients()
        self.wait("all children run on a", 12, lambda: self.watch.all_running() and
                  len(self.watch.children_on("a")) == len(CHILDREN))
        self.wait("every client increments", 5, lambda: all(
            c.acked for c in self.watch.children.values()))
        self.step_done(f"{len(CHILDREN)} children run, each has a client")

    def join(self, node):
        self.view.step(f"node {node} joins")
        before = len(self.watch.done())
        self.cluster.start(node)
        self.wait(f"{node} is alive", 8, lambda: self.watch.state_of(node) == "alive")
        self.wait(f"children moved to {node}", 10, lambda: self.watch.children_on(node) and
                  self.at_rest())
        self.step_done(f"{len(self.watch.done()) - before} children moved, "
                       f"{len(self.watch.children_on(node))} of them to {node}")

    def at_rest(self):
        return self.watch.quiet() and self.watch.all_running()

    def move(self):
        owner = self.watch.children[MOVED].row["node"]
        target = "c" if owner != "c" else "a"
        self.view.step(f"prochubctl move {MOVED} {target}")
        self.order("move", MOVED, target, within_s=8)
        self.wait(f"{MOVED} runs on {target}", 6, lambda: self.at_rest() and
                  self.watch.children[MOVED].row["node"] == target)
        self.step_done(f"it moved from {owner} to {target}")

    def drain(self):
        self.view.step("prochubctl drain b")
        before = self.watch.children_on("b")
        self.order("drain", "b", within_s=10)
        self.wait("b has no children", 6, lambda: self.at_rest() and
                  not self.watch.children_on("b"))
        self.step_done(f"its {len(before)} children moved away")
        return before

    def undrain(self, before):
        self.view.step("prochubctl undrain b")
        self.order("undrain", "b", within_s=5)
        self.wait("children returned to b", 10, lambda: self.watch.children_on("b") and
                  self.at_rest())
        now = self.watch.children_on("b")
        self.step_done(f"{len(now & before)} of its {len(before)} children returned")

    def verify(self):
        self.view.step("the clients stop and compare every count")
        self.watch.order(stop=True)
        self.wait("the clients have compared the counts", 12, lambda: self.watch.verdict)
        verdict = self.watch.verdict
        if not verdict["verified"]:
            raise Failed("no worker answered the last question about "
                         + ", ".join(verdict["silent"]))
        self.view.step_done("done")

    def stop(self):
        self.view.step("all daemons stop")
        wrong = self.cluster.stop()
        if wrong:
            raise Failed("; ".join(wrong))
        self.view.step_done("nothing is left")

    def play(self):
        self.cluster.prepare()
        self.start_first()
        self.join("b")
        self.join("c")
        self.move()
        self.undrain(self.drain())
        self.verify()
        self.stop()

    # ---- the end

    def good(self):
        sums = self.watch.sums
        for note in self.watch.notes[:10]:
            self.view.say(note)
        for name, child in self.watch.children.items():
            if child.row.get("restarts"):
                self.view.say(f"{name} crashed: {child.row['restarts']} restarts")
        if sums["backward"]:
            self.view.say(f"{sums['backward']} updates were acknowledged under an older epoch "
                          "than one before them")
        return sums["acked"] and not any(
            sums[word] for word in ("lost", "twice", "dead", "backward"))

    def explain(self, failure):
        self.view.say(self.view.paint("red", f"{self.view.title or 'demo'}: {failure}"))
        for node, lines in self.cluster.last_log_lines(LOG_LINES):
            self.view.say(self.view.paint("dim", f"---- the last lines of {node}'s log"))
            for line in lines:
                self.view.say(line[:400])

    def run(self):
        try:
            self.play()
            self.view.totals(self.watch)
            return 0 if self.good() else 1
        except Failed as failure:
            self.explain(failure)
            return 1
        except KeyboardInterrupt as why:
            self.view.say("stopped; cleaning up")
            return 128 + (why.args[0] if why.args else signal.SIGINT)
        except BrokenPipeError:  # nobody looks any more
            return 1
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            self.watch.end_clients()
            self.cluster.wipe()
            self.view.close()


def interrupt(number, _frame):
    raise KeyboardInterrupt(number)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True, help="the directory of prochubd and prochubctl")
    parser.add_argument("--hold", type=float, default=1.5, metavar="SECONDS",
                        help="to look at each step when it is done (1.5)")
    args = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    return Demo(args.build, args.hold).run()


if __name__ == "__main__":
    sys.exit(main())
