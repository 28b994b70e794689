#include "cli/interrupt.h"

#include <csignal>
#include <initializer_list>

#include <unistd.h>

namespace warploom::cli {

namespace {

volatile std::sig_atomic_t flag = 0;  // the signal that came
volatile std::sig_atomic_t catching = 0;

void on_signal(int signal) {
  if (catching && !flag) {
    flag = signal;
    return;
  }
  std::signal(signal, SIG_DFL);
  std::raise(signal);
  _exit(128 + signal);  // process 1 survives the default action
}

void handle(int flags) {
  for (const int signal : {SIGINT, SIGTERM}) {
    struct sigaction action {};
    sigaction(signal, nullptr, &action);
    if (action.sa_handler == SIG_IGN) continue;
    action = {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_NODEFER | flags;  // the raised signal must come through
    sigaction(signal, &action, nullptr);
  }
}

}  // namespace

void end_on_signals() { handle(SA_RESTART); }

void catch_interrupts() {
  flag = 0;
  catching = 1;
}

bool interrupted() { return flag != 0; }
bool terminated() { return flag == SIGTERM; }
int interrupt_status() { return flag ? 128 + flag : 0; }

InterruptibleReads::InterruptibleReads() { handle(0); }
InterruptibleReads::~InterruptibleReads() { handle(SA_RESTART); }

}  // namespace warploom::cli
