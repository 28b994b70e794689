"""cuxray 0.6.0 with one mistake mended, by its own command line: python scripts/cuxray_checked.py gate ...

It goes through machine code in the order of addresses and sometimes takes a register's value from the instruction before where control
only ever comes from elsewhere. So an address may get the value of a loop counter where the block's rank in its cluster
belongs (LEA address, rank, base, 24), and bank conflicts are counted for lanes 64 MiB apart. Lanes of a shared access lie within the
block's shared memory: where they do not, what cuxray knows is no address, and counts as not known.
"""

import cuxray.analyze.access as access

SHARED_BYTES = 1 << 24  # of a block's window into its cluster's shared memory; no GPU has more
count_ways = access.bank_conflict_ways


def bank_conflict_ways(lanes, width):
    offsets = [(lane - lanes[0] + (1 << 31)) % (1 << 32) for lane in lanes]
    return count_ways(lanes, width) if max(offsets) - min(offsets) < SHARED_BYTES else (1, False)


access.bank_conflict_ways = bank_conflict_ways

if __name__ == "__main__":
    from cuxray.entry import main

    main()
