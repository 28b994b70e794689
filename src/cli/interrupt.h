// Ctrl-C (SIGINT) and SIGTERM, by which service managers and containers end a program.
#pragma once

namespace warploom::cli {

/// From here on either signal ends the program at once: also as process 1, which the kernel lets live otherwise. A signal that
/// was ignored when the program started stays ignored.
void end_on_signals();

/// From here on the first signal asks to stop: it sets a flag; the second ends the program. May be called again to clear the
/// flag. Writes are not disturbed, however slow their reader is.
void catch_interrupts();
bool interrupted();
/// By SIGTERM: the program is to end, not what it is doing alone.
bool terminated();
/// The exit status of a program that a signal ended, as shells report it; 0 if none came.
int interrupt_status();

/// While it lives, a signal ends a read that waits for input.
class InterruptibleReads {
 public:
  InterruptibleReads();
  ~InterruptibleReads();
  InterruptibleReads(const InterruptibleReads&) = delete;
  InterruptibleReads& operator=(const InterruptibleReads&) = delete;
};

}  // namespace warploom::cli
