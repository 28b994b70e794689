// Which thread is inside a call, so that callbacks from there can be told apart.
#pragma once

#include <atomic>
#include <thread>

namespace warploom {

/// Notes the calling thread while it lives.
class Within {
 public:
  explicit Within(std::atomic<std::thread::id>& user) : user_(user) { user_ = std::this_thread::get_id(); }
  ~Within() { user_ = std::thread::id(); }
  Within(const Within&) = delete;
  Within& operator=(const Within&) = delete;

 private:
  std::atomic<std::thread::id>& user_;
};

}  // namespace warploom
