"""A DRAM channel command by command: queues, banks and every spacing the standard asks for.

Time jumps from command to command. What a bank may do next and when is kept a candidate a bank
and kind; what banks share (command pins, data bus, tRRD, tFAW, tCCD, tWTR) is a floor a bank group.

Scheduling: banks take turns, each offering its oldest request that can go on. Hits of the open row
go before older requests for another row (first-ready, first-come-first-served); once a row has
served `ROW_HITS` accesses the older request closes it as soon as the timing allows. Refresh is
all-bank, every tREFI of a rank, ranks in turn, and goes ahead of all requests to its rank; other
ranks go on.
"""

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Sequence

from designs.memory_technology import MemoryTechnology
from sim.memory.dram.clocks import Clocks
from sim.memory.dram.records import Served

__all__ = ["ROW_HITS", "serve"]

ROW_HITS = 4
"""Accesses after which an older request may close a row that still has hits waiting."""

_NEVER = 1 << 62
_REFRESH = -1


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

    def __init__(
        self,
        technology: MemoryTechnology,
        banks: Sequence[int],
        rows: Sequence[int],
        writes: Sequence[bool],
        queue_depth: int | None,
        record: bool,
    ) -> None:
        self.clocks = Clocks.of(technology)
        self.banks, self.rows = list(banks), list(rows)
        self.writes = [int(write) for write in writes]
        self.dual = technology.dual_command
        self.activate_clocks = technology.activate_clocks
        self.ranks, self.in_rank = technology.ranks, technology.banks // technology.ranks
        self.groups_in_rank, self.in_group = technology.bank_groups, technology.banks_per_group
        self.groups = technology.ranks * technology.bank_groups
        self.queue_depth = queue_depth or technology.queue_depth
        self.bank_depth = technology.bank_queue_depth
        self.record = record
        count = technology.banks
        # A request of a bank's queue: row, whether it writes, clock of its arrival.
        self.queues: list[list[tuple[int, int, int]]] = [[] for _ in range(count)]
        # A waiting request, reads and writes apart: place in the order of arrival, row, clock.
        self.waiting: list[list[deque[tuple[int, int, int]]]] = [
            [deque() for _ in range(count)] for _ in range(2)
        ]
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
        self.acts: list[deque[int]] = [deque(maxlen=4) for _ in range(self.ranks)]
        self.refreshing = -1  # the rank whose refresh is due
        self.last_kind = 0
        self.served = Served()
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
        """Enter, change or remove a candidate."""
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
        if queue and bank // self.in_rank != self.refreshing:
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
        """All requests, from clock 0."""
        served, dual, trefi = self.served, self.dual, self.clocks.trefi
        local, floor, key, active = self.local, self.floor, self.key, self.active
        now, last_bank, issued, row_command = 0, 0, -1, False
        interval = trefi // self.ranks
        due, rank = interval, 0
        count, left = len(self.open), len(self.banks)
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
            if self.refreshing >= 0:  # goes first, once a clock
                at = max(self.refresh_ready(), floor[self.groups], now + (issued == now))
                if at <= max(best, now):
                    best, pick = at, _REFRESH
            until = due if self.refreshing < 0 else _NEVER
            while now < best and now < until and self.may_move():  # one request a clock moves
                moved = self.move(now)
                now += 1
                for slot in range(3 * moved, 3 * moved + 3):
                    at = max(local[slot], floor[key[slot]], now)
                    turn, first = (moved - last_bank - 1) % count, pick // 3 - last_bank - 1
                    if at < best or (at == best and pick >= 0 and turn < first % count):
                        best, pick = at, slot
            if max(now, best) >= until:
                now = max(now, due)
                self.begin_refresh(rank)
                due, rank = due + interval, (rank + 1) % self.ranks
                continue
            now = max(now, best)
            if pick == _REFRESH:
                self.refresh(now)
                issued, row_command = now, True
                if not dual:
                    now = self.next_clock(now)
                continue
            bank, kind = divmod(pick, 3)
            last_bank = bank
            second, issued = issued == now, now
            if second and (kind == 0) == row_command:  # its pins are taken; it waits a clock
                now = self.next_clock(now)
                continue
            row_command, occupied = kind == 0, 1
            if kind:
                self.access(bank, kind - 1, now)
                left -= 1
            elif self.open[bank] < 0:
                self.activate(bank, now)
                occupied = self.activate_clocks
            else:
                self.precharge(bank, now)
            self.renew(bank)
            if not dual:
                for _ in range(occupied):
                    now = self.next_clock(now)
            elif second:
                now = self.next_clock(now)
        return served

    def activate(self, bank: int, now: int) -> None:
        """Open the row of the bank's oldest request."""
        clocks, floor, rank = self.clocks, self.floor, bank // self.in_rank
        acts, first = self.acts[rank], rank * self.groups_in_rank
        row = self.open[bank] = self.queues[bank][0][0]
        self.served.activations += 1
        self.col_at[bank] = now + clocks.trcd
        self.pre_at[bank] = now + clocks.tras
        self.act_at[bank] = now + clocks.tras + clocks.trp
        acts.append(now)
        soonest = now + clocks.trrd_s
        if len(acts) == 4:
            soonest = max(soonest, acts[0] + clocks.tfaw)
        for other in range(first, first + self.groups_in_rank):
            if floor[other] < soonest:
                floor[other] = soonest
        group = bank // self.in_group
        floor[group] = max(floor[group], now + clocks.trrd_l)
        if self.dual and self.activate_clocks > 1:  # the row pins are still taken
            free = now + self.activate_clocks
            for other in range(self.groups + 1):
                floor[other] = max(floor[other], free)
        if self.record:
            self.served.commands.append((now, "ACT", bank, row))

    def precharge(self, bank: int, now: int) -> None:
        """Close the row of the bank."""
        if self.record:
            self.served.commands.append((now, "PRE", bank, self.open[bank]))
        self.open[bank], self.hits[bank] = -1, 0
        self.act_at[bank] = max(self.act_at[bank], now + self.clocks.trp)

    def access(self, bank: int, write: int, now: int) -> None:
        """Read or write the open row for the oldest request of that kind."""
        clocks, floor, served = self.clocks, self.floor, self.served
        queue, row, group = self.queues[bank], self.open[bank], bank // self.in_group
        for place, entry in enumerate(queue):
            if entry[0] == row and entry[1] == write:
                del queue[place]
                break
        if self.hits[bank]:
            served.row_hits += 1
        self.hits[bank] += 1
        reads = self.groups + 1
        writes = reads + self.groups
        if write:
            data = now + clocks.cwl + clocks.burst
            same, turned = writes, reads
            turn, close = data + clocks.twtr_s, data + clocks.twr
        else:
            data = now + clocks.cl + clocks.burst
            same, turned = reads, writes
            turn, close = now + clocks.read_to_write, now + clocks.trtp
            served.read_latency += data - entry[2]
        follow, first = now + clocks.tccd_s, bank // self.in_rank * self.groups_in_rank
        for other in range(first, first + self.groups_in_rank):
            if floor[same + other] < follow:
                floor[same + other] = follow
            if floor[turned + other] < turn:
                floor[turned + other] = turn
        floor[same + group] = max(floor[same + group], now + clocks.tccd_l)
        if write:
            floor[reads + group] = max(floor[reads + group], data + clocks.twtr_l)
        if self.ranks > 1:
            self.leave_bus_to_ranks(first, write, now)
        if self.pre_at[bank] < close:
            self.pre_at[bank] = close
        served.clocks = max(served.clocks, data)
        if write != self.last_kind:
            served.turnarounds += 1
            self.last_kind = write
        if self.record:
            served.commands.append((now, "WR" if write else "RD", bank, row))
        for kind in (0, 1):  # the queue of the bank has room again
            if self.waiting[kind][bank]:
                self.movable[kind].add(bank)

    def leave_bus_to_ranks(self, first: int, write: int, now: int) -> None:
        """Floors of the groups of other ranks, which share nothing but the data bus."""
        clocks, floor = self.clocks, self.floor
        if write:
            read, follow = clocks.write_to_read_of_other_rank, clocks.burst + clocks.trtrs
        else:
            read, follow = clocks.burst + clocks.trtrs, clocks.read_to_write_of_other_rank
        for other in range(self.groups):
            if not first <= other < first + self.groups_in_rank:
                reads = self.groups + 1 + other
                floor[reads] = max(floor[reads], now + read)
                floor[reads + self.groups] = max(floor[reads + self.groups], now + follow)

    def begin_refresh(self, rank: int) -> None:
        """No more commands to the rank but those of its refresh."""
        self.refreshing = rank
        for bank in range(rank * self.in_rank, (rank + 1) * self.in_rank):
            self.renew(bank)

    def refresh_ready(self) -> int:
        """Clock of the next command of the refresh that is due."""
        first = self.refreshing * self.in_rank
        banks = range(first, first + self.in_rank)
        opened = [self.pre_at[bank] for bank in banks if self.open[bank] >= 0]
        return min(opened) if opened else max(self.act_at[first : first + self.in_rank])

    def refresh(self, now: int) -> None:
        """Close one open row of the rank or, when all are closed, refresh its banks."""
        first = self.refreshing * self.in_rank
        banks = range(first, first + self.in_rank)
        for bank in banks:
            if self.open[bank] >= 0 and self.pre_at[bank] <= now:
                self.precharge(bank, now)
                return
        if self.record:
            self.served.commands.append((now, "REF", first, -1))
        self.served.refreshes += 1
        self.refreshing = -1
        for bank in banks:
            self.act_at[bank] = now + self.clocks.trfc
            self.renew(bank)
