"""What the demo shows: on a terminal a picture that is redrawn in place, else a line per event."""

import os
import shutil
import sys
import time

REDRAW_S = 0.2
LINES, COLUMNS = 21, 80  # what the picture needs
RECENT_S = 2.5  # a finished migration stays in its child's line so long
COLOURS = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
STATES = {"running": "green", "alive": "green", "failed": "red", "dead": "red", "suspect": "red",
          "backoff": "red", "left": "dim", "stopped": "dim"}


def number(n):
    return f"{n:,}"


def size(n):
    return f"{n / 1e6:.1f} MB" if n >= 100000 else f"{n / 1e3:.1f} kB" if n >= 1000 else f"{n} B"


def duration(seconds):
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


class View:
    def __init__(self, out=sys.stdout):
        self.out, self.began = out, time.monotonic()
        size_now = shutil.get_terminal_size((0, 0))
        tty = out.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self.live = tty and size_now.lines > LINES and size_now.columns >= COLUMNS
        self.coloured = tty and "NO_COLOR" not in os.environ
        unicode = (out.encoding or "").lower().replace("-", "") == "utf8"
        self.arrow, self.block, self.tick = ("→", "■", "✓") if unicode else ("->", "#", "*")
        self.drawn, self.drawn_at, self.title = 0, 0.0, ""
        if self.live:
            out.write("\x1b[?25l")

    def paint(self, colour, text):
        code = COLOURS.get(colour)
        return f"\x1b[{code}m{text}\x1b[0m" if self.coloured and code else text

    # ---- lines that stay

    def erase(self):
        if self.drawn:
            self.out.write(f"\x1b[{self.drawn}A\x1b[J")
            self.drawn = 0

    def say(self, text):
        self.erase()
        self.out.write(text + "\n")
        self.out.flush()
        self.drawn_at = 0.0

    def stamp(self):
        return self.paint("dim", f"[{time.monotonic() - self.began:5.1f} s]")

    def step(self, title):
        self.title = title
        if not self.live:
            self.say(f"{self.stamp()} {self.paint('bold', title)}")

    def step_done(self, text):
        if self.live:
            self.say(f"{self.stamp()} {self.paint('green', self.tick)} {self.title}: {text}")
        else:
            self.say(f"{self.stamp()}   {text}")

    def migration(self, m):
        """A finished one."""
        if not self.live or m.row["result"] != "done":
            self.say(f"{self.stamp()}   {m.child} {self.outcome(m)}")

    def outcome(self, m):
        row = m.row
        text = f"{row['from']} {self.arrow} {row['to']} {row['result']}"
        if row["result"] != "done":
            return self.paint("red", text + (f": {row['reason']}" if row["reason"] else ""))
        pause = f", pause {duration(m.pause)}" if m.pause is not None else ""
        elapsed = duration((row["elapsed_ms"] or 0) / 1000)
        return text + f", {size(row['bytes'])} in {elapsed}{pause}"

    # ---- the picture

    def draw(self, watch):
        now = time.monotonic()
        if not self.live or now - self.drawn_at < REDRAW_S:
            return
        lines = self.picture(watch, now)
        up = f"\x1b[{self.drawn}A" if self.drawn else ""
        self.out.write(up + "".join(line + "\x1b[K\n" for line in lines) + "\x1b[J")
        self.out.flush()
        self.drawn, self.drawn_at = len(lines), now

    def picture(self, watch, now):
        s = watch.sums
        running = sum(m.running for m in watch.migrations.values())
        lines = ["", f"{self.stamp()} {self.paint('bold', self.title)}"]
        lines += [self.node_line(n, watch) for n in watch.nodes][:3]
        lines += [""] * (5 - len(lines))
        lines += [self.paint("dim", f"{'CHILD':<13}{'NODE':<5}{'STATE':<10}{'UPDATES':>9}"
                             f"{'PER S':>7}  MIGRATION")]
        lines += [self.child_line(name, c, watch, now) for name, c in watch.children.items()]
        lines += [f"updates {number(s['acked'])}   lost {self.bad(s['lost'])}   "
                  f"twice {self.bad(s['twice'])}   "
                  f"lookups {number(s['lookups'])}, dead {self.bad(s['dead'])}",
                  f"migrations: {running} running, {len(watch.done())} done, "
                  f"{len(watch.aborted())} aborted"]
        return lines

    def bad(self, n):
        return self.paint("red" if n else "green", number(n))

    def node_line(self, node, watch):
        name, n = node["name"], len(watch.children_on(node["name"]))
        state = "draining" if node.get("draining") and node["state"] == "alive" else node["state"]
        state = self.paint(STATES.get(state, "yellow"), f"{state:<9}")
        return f"node {self.paint('bold', name)}   {state} {n:>2} children  {self.block * n}"

    def child_line(self, name, child, watch, now):
        row = child.row
        state = row.get("state") or "-"
        return (f"{name:<13}{row.get('node') or '-':<5}"
                f"{self.paint(STATES.get(state, 'yellow'), f'{state:<10}')}"
                f"{number(child.acked):>9}{child.rate:>7.0f}  "
                f"{self.migration_cell(watch.migration_of(name), now)}")

    def migration_cell(self, m, now):
        """At most 36 columns wide."""
        if not m or (m.ended and now - m.ended > RECENT_S):
            return ""
        row = m.row
        if m.running:
            total = row["total"] or 0
            share = f" {min(100, row['bytes'] * 100 // total)}%" if total else ""
            text = f"{row['from']} {self.arrow} {row['to']} {row['phase']:<9} {size(row['bytes'])}"
            return self.paint("cyan", f"{text}{share}")
        pause = f", pause {duration(m.pause)}" if m.pause is not None else ""
        return self.paint("green" if row["result"] == "done" else "red",
                          f"{row['from']} {self.arrow} {row['to']} {row['result']}{pause}")

    # ---- the end

    def totals(self, watch):
        s = watch.sums
        longest = max(watch.finished, key=lambda m: m.pause, default=None)
        pauses = sorted(m.pause for m in watch.finished)
        rows = [("updates acknowledged", number(s["acked"])),
                ("lost", self.bad(s["lost"])),
                ("applied twice", self.bad(s["twice"])),
                ("lookups answered with a dead worker",
                 f"{self.bad(s['dead'])} of {number(s['lookups'])}"),
                ("migrations done", number(len(watch.done()))),
                ("migrations aborted", number(len(watch.aborted())))]
        if longest:
            rows.append(("longest pause", f"{duration(longest.pause)} ({longest.child}, "
                         f"{longest.row['from']} {self.arrow} {longest.row['to']}; "
                         f"median {duration(pauses[len(pauses) // 2])})"))
        self.say("")
        for word, value in rows:
            self.say(f"{word:>36}  {value}")

    def close(self):
        try:
            self.erase()
            if self.live:
                self.out.write("\x1b[?25h")
            self.out.flush()
        except OSError:
            pass  # the terminal is gone
