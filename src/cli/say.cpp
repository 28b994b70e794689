#include "cli/say.h"

#include <csignal>
#include <cstdio>
#include <ctime>

#include <pthread.h>

namespace warploom::cli {

void say_text(std::string_view text) {
  // A reader that leaves would end the program by SIGPIPE, as it should on standard output alone.
  sigset_t pipe, before, pending;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe, &before);
  if (std::fwrite(text.data(), 1, text.size(), stderr) < text.size() && sigpending(&pending) == 0 &&
      sigismember(&pending, SIGPIPE)) {
    const timespec now{};
    sigtimedwait(&pipe, nullptr, &now);
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace warploom::cli
