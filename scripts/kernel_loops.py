"""Branches in the inner loops around tensor cores' products: `cuobjdump -sass FILE | kernel_loops.py MOST KERNELS`. Of each kernel whose mangled
name the regular expression KERNELS finds, prints the shortest loop that holds an HMMA; exits with 1 if one has more than MOST branches, or if
there is none. A loop is what a branch backwards leads over."""
import re
import sys

CODE = re.compile(r"code for (\S+)")
FUNCTION = re.compile(r"Function : (\S+)")
INSTRUCTION = re.compile(r"/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?([A-Z]\w*)([^;]*);")
TARGET = re.compile(r"0x([0-9a-f]+)\s*$")
BRANCHES = {"BRA", "BRX", "BRXU", "CALL", "JMP", "JMX", "JMXU", "RET"}


def kernels(lines):
    """[architecture, name, [(address, opcode, operands)]] of each."""
    found, architecture = [], ""
    for line in lines:
        if match := CODE.search(line):
            architecture = match[1]
        elif match := FUNCTION.search(line):
            found.append([architecture, match[1], []])
        elif found and (match := INSTRUCTION.search(line)):
            found[-1][2].append((int(match[1], 16), match[2], match[3].strip()))
    return found


def product_loop(code):
    """The opcodes of the shortest loop with a product; [] if there is none."""
    products = [address for address, opcode, _ in code if opcode == "HMMA"]
    backwards = [(int(target[1], 16), address) for address, opcode, operands in code
                 if opcode == "BRA" and (target := TARGET.search(operands)) and int(target[1], 16) < address]
    around = [(begin, end) for begin, end in backwards if any(begin <= p <= end for p in products)]
    if not around:
        return []
    begin, end = min(around, key=lambda loop: loop[1] - loop[0])
    return [opcode for address, opcode, _ in code if begin <= address <= end]


def main(most, pattern):
    chosen = [kernel for kernel in kernels(sys.stdin) if re.search(pattern, kernel[1])]
    bad = not chosen
    for architecture, name, code in chosen:
        loop = product_loop(code)
        branches = sum(opcode in BRANCHES for opcode in loop)
        text = f"{architecture} {name}: {branches} branches in a loop of {len(loop)} instructions around {loop.count('HMMA')} products"
        if branches > int(most):
            bad, text = True, f"{text} violates at most {most}"
        elif not loop:
            bad, text = True, f"{architecture} {name}: no loop has a product"
        print(text)
    if not chosen:
        print(f"no kernel is called {pattern}")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
