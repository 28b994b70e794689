#include "cli/interrupt.h"

#include <csignal>

namespace warploom::cli {

namespace {

volatile std::sig_atomic_t flag = 0;

void on_interrupt(int) {
  if (flag) {
    std::signal(SIGINT, SIG_DFL);
    std::raise(SIGINT);
  }
  flag = 1;
}

}  // namespace

void catch_interrupts() {
  flag = 0;
  struct sigaction action {};
  action.sa_handler = on_interrupt;  // no SA_RESTART: a read that waits for a line returns
  sigaction(SIGINT, &action, nullptr);
}

bool interrupted() { return flag != 0; }

}  // namespace warploom::cli
