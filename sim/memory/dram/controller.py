"""A DRAM channel command by command: queues, banks and every spacing the standard asks for.

Time jumps from command to command. What a bank may do next and when is kept a candidate a bank
and kind; what banks share (command pins, data bus, tRRD, tFAW, tCCD, tWTR) is a floor a bank group.

Scheduling: banks take turns, each offering its oldest request that can go on; row hits go before
older requests that need another row, until the row has served `ROW_HITS` of them (first-ready,
first-come-first-served with a cap). Refresh is all-bank, every tREFI, ahead of all requests.
"""

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from designs.memory_technology import MemoryTechnology

__all__ = ["ROW_HITS", "Clocks", "Command", "Served", "serve"]

ROW_HITS = 4
"""Hits after which a waiting request may close a row that still has hits waiting."""

_NEVER = 1 << 62

Command = tuple[int, str, int, int]
"""Clock, name (ACT, PRE, PREA, RD, WR, REF), bank, row; -1 where there is none."""


@dataclass(frozen=True)
class Clocks:
    """Timing in command clocks; names as in `DramTiming`."""

    cl: int
    cwl: int
    trcd: int
    trp: int
    tras: int
    trrd_s: int
    trrd_l: int
    tfaw: int
    tccd_s: int
    tccd_l: int
    trtp: int
    twtr_s: int
    twtr_l: int
    twr: int
    trfc: int
    trefi: int
    trtw: int
    burst: int

    @classmethod
    def of(cls, technology: MemoryTechnology) -> "Clocks":
        """Rounded as `MemoryTechnology.clocks` rounds; at least a burst between column commands."""
        names = [name for name in cls.__dataclass_fields__ if name != "burst"]
        clocks = {name: technology.clocks(name) for name in names}
        burst = technology.burst_clocks
        for name in ("tccd_s", "tccd_l"):
            clocks[name] = max(clocks[name], burst)
        for name in ("trrd_s", "trrd_l"):
            clocks[name] = max(clocks[name], 1)
        return cls(**clocks, burst=burst)

    @property
    def read_to_write(self) -> int:
        """Read command to write command of any banks: the data bus changes direction."""
        return max(self.cl + self.burst + self.trtw - self.cwl, self.burst)


@dataclass
class Served:
    """What serving a list of requests took.

    Attributes
    ----------
    clocks : int
        From the first request to the end of the last data.
    activations, refreshes, row_hits, turnarounds : int
        Counts; a row hit found its row open and was not the first access to it, a turnaround is
        a change between reading and writing.
    read_latency : int
        Clocks from arriving to the end of the data, summed over reads.
    commands : list of Command
        Only if asked for.
    """

    clocks: int = 0
    activations: int = 0
    refreshes: int = 0
    row_hits: int = 0
    turnarounds: int = 0
    read_latency: int = 0
    commands: list[Command] = field(default_factory=list)


def serve(
    technology: MemoryTechnology,
    banks: Sequence[int],
    rows: Sequence[int],
    writes: Sequence[bool],
    queue_depth: int | None = None,
    record: bool = False,
) -> Served:
    """Serve requests as fast as the channel can; the next is always ready to enter the queue.

    Parameters
    ----------
    technology : MemoryTechnology
        Timing, banks and queues.
    banks, rows, writes : sequence
        One entry a column access, in order of arrival.
    queue_depth : int, optional
        Replaces the technology's.
    record : bool
        Keep every command.
    """
    return _Channel(technology, banks, rows, writes, queue_depth, record).run()


class _Channel:
    """State of one run; slots are ``3 * bank + kind`` with kinds row, read, write."""

    def __init__(self, technology, banks, rows, writes, queue_depth, record):
        self.clocks = Clocks.of(technology)
        self.banks, self.rows, self.writes = (
            list(banks),
            list(rows),
            [int(write) for write in writes],
        )
        self.dual = technology.dual_command
        self.activate = technology.activate_clocks
        self.groups, self.in_group = technology.bank_groups, technology.banks_per_group
        self.queue_depth = queue_depth or technology.queue_depth
        self.bank_depth = technology.bank_queue_depth
        self.record = record
        count = technology.banks
        # (row, is a write, clock of arrival) a request
        self.queues: list[list] = [[] for _ in range(count)]
        self.waiting = [[deque() for _ in range(count)] for _ in range(2)]
        self.occupied = [0, 0]
        self.movable: list[set[int]] = [set(), set()]
        self.draining = 0
        self.next = 0
        self.open = [-1] * count
        self.hits = [0] * count
        self.act_at = [0] * count
        self.pre_at = [0] * count
        self.col_at = [0] * count
        self.local = [_NEVER] * (3 * count)
        self.active: list[int] = []
        groups = self.groups
        # Floors: activate a group, precharge, read a group, write a group.
        self.floor = [0] * (3 * groups + 1)
        self.key = [0] * (3 * count)
        for bank in range(count):
            group = bank // self.in_group
            self.key[3 * bank + 1] = groups + 1 + group
            self.key[3 * bank + 2] = 2 * groups + 1 + group

    # Queues

    def arrive(self, clock: int) -> None:
        """Requests enter in order until the queue of their kind is full."""
        banks, writes, rows = self.banks, self.writes, self.rows
        index, total = self.next, len(banks)
        while index < total:
            kind, bank = writes[index], banks[index]
            if self.occupied[kind] >= self.queue_depth:
                break
            self.waiting[kind][bank].append((index, rows[index], clock))
            self.occupied[kind] += 1
            if len(self.queues[bank]) < self.bank_depth:
                self.movable[kind].add(bank)
            index += 1
        self.next = index

    def may_move(self) -> bool:
        """Whether a waiting request finds room; writes wait until their queue is full."""
        if not self.occupied[1]:
            return bool(self.movable[0])
        if not self.draining and (self.occupied[1] >= self.queue_depth or not self.occupied[0]):
            self.draining = self.occupied[1]
        return bool(self.movable[1 if self.draining else 0])

    def move(self, clock: int) -> int:
        """Move the oldest request that finds room to the queue of its bank; the bank."""
        kind = 1 if self.draining else 0
        waiting, movable = self.waiting[kind], self.movable[kind]
        if len(movable) == 1:
            (bank,) = movable
        else:
            bank = min(movable, key=lambda b: waiting[b][0][0])
        _, row, arrived = waiting[bank].popleft()
        self.occupied[kind] -= 1
        self.draining -= kind
        queue = self.queues[bank]
        queue.append((row, kind, arrived))
        if len(queue) >= self.bank_depth:
            self.movable[0].discard(bank)
            self.movable[1].discard(bank)
        elif not waiting[bank]:
            movable.discard(bank)
        if len(queue) == 1 or (
            row == self.open[bank] and self.local[3 * bank + 1 + kind] == _NEVER
        ):
            self.renew(bank)
        self.arrive(clock + 1)
        return bank

    def next_clock(self, now: int) -> int:
        """End a clock in which commands went out."""
        if self.may_move():
            self.move(now)
        return now + 1

    # Candidates

    def offer(self, slot: int, at: int) -> None:
        if self.local[slot] == _NEVER:
            if at != _NEVER:
                insort(self.active, slot)
        elif at == _NEVER:
            self.active.remove(slot)
        self.local[slot] = at

    def renew(self, bank: int) -> None:
        """What the bank may do next, by its own timing."""
        queue, row, slot = self.queues[bank], self.open[bank], 3 * bank
        read = write = other = _NEVER
        if queue:
            if row < 0:
                other = self.act_at[bank]
                self.key[slot] = bank // self.in_group
            else:
                at = self.col_at[bank]
                for entry in queue:
                    if entry[0] == row:
                        if entry[1]:
                            write = at
                        else:
                            read = at
                        if read != _NEVER and write != _NEVER:
                            break
                miss = queue[0][0] != row
                if miss and ((read == write == _NEVER) or self.hits[bank] >= ROW_HITS):
                    other = self.pre_at[bank]
                    self.key[slot] = self.groups
        self.offer(slot, other)
        self.offer(slot + 1, read)
        self.offer(slot + 2, write)

    # Commands

    def run(self) -> Served:
        served, clocks = Served(), self.clocks
        local, floor, key, active = self.local, self.floor, self.key, self.active
        groups, in_group, dual = self.groups, self.in_group, self.dual
        commands = served.commands
        acts: deque[int] = deque(maxlen=4)
        now, last_bank, last_kind, refresh_at = 0, 0, 0, clocks.trefi
        count, left = len(self.open), len(self.banks)
        end, issued, row_command = 0, -1, False
        self.arrive(0)
        while left:
            best, pick = _NEVER, -1
            split = bisect_right(active, 3 * last_bank + 2)
            for slot in active[split:] + active[:split] if split else active:
                at = local[slot]
                if floor[key[slot]] > at:
                    at = floor[key[slot]]
                if at < best:
                    best, pick = at, slot
                    if at <= now:
                        break
            while best > now and self.may_move():  # one request a clock finds its bank
                moved = self.move(now)
                now += 1
                for slot in range(3 * moved, 3 * moved + 3):
                    at = max(local[slot], floor[key[slot]], now)
                    if at < best or (
                        at == best
                        and (moved - last_bank - 1) % count < (pick // 3 - last_bank - 1) % count
                    ):
                        best, pick = at, slot
            now = max(now, best)
            if now >= refresh_at:
                now = self.refresh(refresh_at, served) + 1
                refresh_at += clocks.trefi
                while self.may_move():
                    self.move(now)
                continue
            bank, kind = divmod(pick, 3)
            group = bank // in_group
            last_bank = bank
            second, issued = issued == now, now
            if second and (kind == 0) == row_command:  # its pins are taken; it waits a clock
                now = self.next_clock(now)
                continue
            row_command = kind == 0
            occupied = 1
            if kind == 0 and self.open[bank] < 0:
                row = self.queues[bank][0][0]
                self.open[bank] = row
                served.activations += 1
                self.col_at[bank] = now + clocks.trcd
                self.pre_at[bank] = now + clocks.tras
                self.act_at[bank] = now + clocks.tras + clocks.trp
                acts.append(now)
                soonest = now + clocks.trrd_s
                if len(acts) == 4:
                    soonest = max(soonest, acts[0] + clocks.tfaw)
                for other in range(groups):
                    floor[other] = max(floor[other], soonest)
                floor[group] = max(floor[group], now + clocks.trrd_l)
                occupied = self.activate
                if dual:
                    floor[groups] = now + occupied
                if self.record:
                    commands.append((now, "ACT", bank, row))
                self.renew(bank)
            elif kind == 0:
                if self.record:
                    commands.append((now, "PRE", bank, self.open[bank]))
                self.open[bank] = -1
                self.hits[bank] = 0
                self.act_at[bank] = max(self.act_at[bank], now + clocks.trp)
                self.renew(bank)
            else:
                queue, row, write = self.queues[bank], self.open[bank], kind - 1
                for place, entry in enumerate(queue):
                    if entry[0] == row and entry[1] == write:
                        del queue[place]
                        break
                left -= 1
                if self.hits[bank]:
                    served.row_hits += 1
                self.hits[bank] += 1
                first_read, first_write = groups + 1, 2 * groups + 1
                if write:
                    data = now + clocks.cwl + clocks.burst
                    same, turn_s, turn_l = first_write, data + clocks.twtr_s, data + clocks.twtr_l
                    for other in range(first_read, first_write):
                        floor[other] = max(floor[other], turn_s)
                    floor[first_read + group] = max(floor[first_read + group], turn_l)
                    self.pre_at[bank] = max(self.pre_at[bank], data + clocks.twr)
                else:
                    data = now + clocks.cl + clocks.burst
                    same, turn = first_read, now + clocks.read_to_write
                    for other in range(first_write, first_write + groups):
                        floor[other] = max(floor[other], turn)
                    self.pre_at[bank] = max(self.pre_at[bank], now + clocks.trtp)
                    served.read_latency += data - entry[2]
                for other in range(same, same + groups):
                    floor[other] = max(floor[other], now + clocks.tccd_s)
                floor[same + group] = max(floor[same + group], now + clocks.tccd_l)
                end = max(end, data)
                if write != last_kind:
                    served.turnarounds += 1
                    last_kind = write
                if self.record:
                    commands.append((now, "WR" if write else "RD", bank, row))
                self.renew(bank)
                for waits in (0, 1):
                    if self.waiting[waits][bank]:
                        self.movable[waits].add(bank)
            if not dual:
                for _ in range(occupied):
                    now = self.next_clock(now)
            elif second:
                now = self.next_clock(now)
        served.clocks = end
        return served

    def refresh(self, at: int, served: Served) -> int:
        """Close all rows as soon as they may be closed, then refresh; the clock of the refresh."""
        clocks = self.clocks
        opened = [bank for bank, row in enumerate(self.open) if row >= 0]
        ready = max([at, *self.act_at])
        if opened:
            close = max([at, *(self.pre_at[bank] for bank in opened)])
            ready = max(ready, close + clocks.trp)
            if self.record:
                served.commands.append((close, "PREA", -1, -1))
        if self.record:
            served.commands.append((ready, "REF", -1, -1))
        served.refreshes += 1
        for bank in range(len(self.open)):
            self.open[bank], self.hits[bank] = -1, 0
            self.act_at[bank] = ready + clocks.trfc
            self.renew(bank)
        return ready
