// Ctrl-C as a flag: the first asks to stop, the second ends the program.
#pragma once

namespace warploom::cli {

/// From here on Ctrl-C sets the flag. May be called again to clear it.
void catch_interrupts();
bool interrupted();

}  // namespace warploom::cli
